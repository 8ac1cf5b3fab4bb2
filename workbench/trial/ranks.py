"""Several processes that train one model, each on a device of its own: the ranks of a trial.

Every rank draws the same batches and changes them alike, lets its share of their samples through
the model, and adds its gradient to those of the others: the loss is that of the whole batch, and
batch norms see all of it. So each takes the steps that one process would take, but for rounding;
what a network drops by chance, each rank draws for its own samples.

It is what torch's `DistributedDataParallel` does, which takes a step to be one pass there and back
and averages over the ranks. Here a step may be several passes (parts of a batch, losses in which
samples meet, SAM) and shares may be uneven; and torch's `SyncBatchNorm` is for GPUs alone.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from workbench.trial.device import is_cuda

BUCKET = 2**23
"""Numbers that are sent at once."""

PATIENCE = timedelta(days=1)
"""For another rank. One that died is noticed otherwise, and one that hangs stalls the trial."""

_LOOK_S = 0.01


class LostRankError(RuntimeError):
    """Another rank does not answer any more."""


class Share(NamedTuple):
    """What of a batch a rank trains on."""

    rows: slice
    weight: float
    """What its part of the loss counts: 1, but where several ranks train on the same samples."""


def largest_share(num_samples: int, num_ranks: int) -> int:
    """Return the samples of a batch that the rank with most of them has."""
    return -(-num_samples // num_ranks)


class Ranks:
    """One process alone, which has nobody to agree with."""

    size, rank = 1, 0

    def share(self, num_samples: int) -> Share:
        """Return what of a batch is this rank's.

        Shares are as even as they can be. All of a batch of fewer samples than ranks is every
        rank's, so that none is without any.
        """
        return Share(slice(None), 1.0)

    def gather(self, mine: Tensor, num_samples: int) -> Tensor:
        """Return what all ranks have of their samples of a batch, without gradients.

        Args:
            mine: (share, ...) of this rank.
            num_samples: Of the batch.
        """
        return mine.detach()

    def sum(self, x: Tensor) -> Tensor:
        """Add the same tensor of all ranks up, in place; return it."""
        return x

    def add_gradients(self, model: nn.Module) -> None:
        """Let the model have the gradients of all ranks, added up."""

    def agree(self, model: nn.Module) -> None:
        """Let the model have the weights and running averages of rank 0."""

    @contextmanager
    def norms_shared(self, model: nn.Module, num_samples: int) -> Iterator[None]:
        """Let batch norms see the samples of all ranks in passes of a batch of `num_samples`."""
        yield

    @contextmanager
    def leading(self, epochs: Sequence[Any], *, channels_last: bool) -> Iterator[None]:
        """Have the others train along the epoch that the body trains, after `epochs`."""
        yield


class Group(Ranks):
    """One of several ranks.

    Args:
        rank: Its number, from 0 on.
        size: How many there are.
        device: Its torch device.
        meeting: A file that they find each other by.
    """

    def __init__(self, rank: int, size: int, device: str, meeting: Path) -> None:
        self.rank, self.size = rank, size
        self.device, self._meeting = device, meeting
        self._group: Any = None
        self._is_left = False

    def connect(self) -> None:
        """Wait for all others, and find them.

        Raises:
            LostRankError: another rank ended meanwhile, or was not found.
        """
        try:
            self._connect()
        except RuntimeError as error:
            raise LostRankError(f"rank {self.rank} found no other one: {error}") from error

    def _connect(self) -> None:
        meeting = str(self._meeting)
        store = dist.FileStore(meeting, self.size)  # type: ignore[attr-defined]
        store.set(f"rank {self.rank}", "")
        # Waited for here: nothing ends the library's own wait for one that never comes.
        while not store.check([f"rank {other}" for other in range(self.size)]):
            if self._is_left:
                raise RuntimeError("one of them ended")
            time.sleep(_LOOK_S)
        if is_cuda(self.device):
            options = dist.ProcessGroupNCCL.Options()
            options._timeout = PATIENCE
            self._group = dist.ProcessGroupNCCL(store, self.rank, self.size, options)
        else:
            self._group = dist.ProcessGroupGloo(store, self.rank, self.size, PATIENCE)

    def abort(self) -> None:
        """Have whoever waits for the others wait no longer."""
        self._is_left = True
        if self._group is not None:
            self._group.abort()

    def share(self, num_samples: int) -> Share:
        """See `Ranks.share`."""
        if num_samples < self.size:
            return Share(slice(None), 1 / self.size)
        few, more = divmod(num_samples, self.size)
        first = self.rank * few + min(self.rank, more)
        return Share(slice(first, first + few + (self.rank < more)), 1.0)

    def gather(self, mine: Tensor, num_samples: int) -> Tensor:
        """See `Ranks.gather`."""
        if num_samples < self.size:
            return mine.detach()
        whole = mine.new_zeros(num_samples, *mine.shape[1:])
        whole[self.share(num_samples).rows] = mine.detach()
        return self.sum(whole)

    def sum(self, x: Tensor) -> Tensor:
        """See `Ranks.sum`.

        Raises:
            LostRankError: another rank ended.
        """
        try:
            self._group.allreduce([x]).wait()
        except RuntimeError as error:
            raise LostRankError(f"rank {self.rank} lost another one: {error}") from error
        return x

    def add_gradients(self, model: nn.Module) -> None:
        """See `Ranks.add_gradients`."""
        self._sum_all([p.grad for p in model.parameters() if p.grad is not None])

    def agree(self, model: nn.Module) -> None:
        """See `Ranks.agree`."""
        tensors = [x.detach() for x in model.state_dict().values() if x.is_floating_point()]
        if self.rank > 0:
            for tensor in tensors:
                tensor.zero_()
        self._sum_all(tensors)

    @contextmanager
    def norms_shared(self, model: nn.Module, num_samples: int) -> Iterator[None]:
        """See `Ranks.norms_shared`."""
        with ExitStack() as stack:
            if num_samples >= self.size:
                mode = _SharedNorms(self)
                # Around each norm alone, wherever it is called: activations are computed again in
                # the backward pass, and that in another thread on a GPU.
                for layer in model.modules():
                    if isinstance(layer, _BatchNorm):
                        stack.callback(layer.register_forward_pre_hook(mode.begin).remove)
                        end = layer.register_forward_hook(mode.end, always_call=True)
                        stack.callback(end.remove)
            yield

    def _sum_all(self, tensors: Sequence[Tensor]) -> None:
        for bucket in _buckets(tensors):
            flat = self.sum(torch.cat([x.reshape(-1) for x in bucket]))
            for x, summed in zip(bucket, flat.split([x.numel() for x in bucket]), strict=True):
                x.copy_(summed.view(x.shape))


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Yield tensors of one type in groups of about `BUCKET` numbers."""
    bucket: list[Tensor] = []
    for x in tensors:
        if bucket and (bucket[0].dtype != x.dtype or sum(b.numel() for b in bucket) >= BUCKET):
            yield bucket
            bucket = []
        bucket.append(x)
    if bucket:
        yield bucket


class _SharedNorms(TorchFunctionMode):
    """Batch norms in training take mean and variance of the samples of all ranks."""

    def __init__(self, ranks: Group) -> None:
        super().__init__()
        self._ranks = ranks

    def begin(self, *_: object) -> None:
        """Begin at a norm: a hook before its pass."""
        self.__enter__()  # type: ignore[no-untyped-call]

    def end(self, *_: object) -> None:
        """End there: a hook behind its pass."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do what torch would do, but for `batch_norm`."""
        kwargs = kwargs or {}
        return self._batch_norm(*args, **kwargs) if func is F.batch_norm else func(*args, **kwargs)

    def _batch_norm(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
        # No more than the moments go to the others, so that no sample leaves its device.
        dims, num = [0, *range(2, x.dim())], x.numel() // x.shape[1]
        with torch.no_grad():
            var, mean = torch.var_mean(x.float(), dims, correction=0)
            of_all = mean.new_zeros(self._ranks.size, 3, len(mean))
            of_all[self._ranks.rank] = torch.stack([mean, var, torch.full_like(mean, num)])
            means, variances, nums = self._ranks.sum(of_all).unbind(1)
            total = nums.sum(0)
            mean = (nums * means).sum(0) / total
            var = (nums * (variances + (means - mean) ** 2)).sum(0) / total
            if running_mean is not None and running_var is not None:
                running_mean.lerp_(mean, momentum)
                running_var.lerp_(var * (total / (total - 1)), momentum)
        y: Tensor = _Normalised.apply(  # type: ignore[no-untyped-call]
            x, weight, bias, mean, var, total, eps, self._ranks
        )
        return y


class _Normalised(torch.autograd.Function):
    """Batch norm by a mean and a variance that are those of the samples of all ranks.

    Source of the gradient: Ioffe and Szegedy 2015, arXiv:1502.03167, section 3.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        var: Tensor,
        total: Tensor,
        eps: float,
        ranks: Group,
    ) -> Tensor:
        """Return `x` normalised, (batch, channels, ...)."""
        ctx.save_for_backward(x, weight, mean, var, total)
        ctx.eps, ctx.ranks = eps, ranks
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of `x`, and of weight and bias by this rank's samples."""
        x, weight, mean, var, total = ctx.saved_tensors
        # As if mean and variance were constants; then what they owe to each sample.
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        inverse = (var + ctx.eps).rsqrt()
        by_bias, by_weight = ctx.ranks.sum(torch.stack([of_bias, of_weight])) / total
        scale = inverse if weight is None else inverse * weight
        slope = scale * inverse * by_weight
        shape = (-1, *[1] * (x.dim() - 2))
        of_x -= x * slope.view(shape) + (scale * by_bias - slope * mean).view(shape)
        if weight is None:
            of_weight = of_bias = None
        return of_x, of_weight, of_bias, None, None, None, None, None
