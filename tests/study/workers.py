"""A worker that does what its job's recipe says in a word. Spawned processes import it by name."""

import os
import signal
import time
from multiprocessing.connection import Connection

from workbench.trial.job import Bug
from workbench.trial.result import Epoch, Result
from workbench.trial.worker import Beat, LocalJob


def scripted_work(connection: Connection, warm: bool = False) -> None:
    """Play the jobs that come over `connection`, in the place of `worker.work`."""
    while True:
        job: LocalJob | None = connection.recv()
        if job is None:
            return
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / "log.txt").write_text("first line\nlast words\n", encoding="utf-8")
        match job.job.recipe:
            case "finish":
                connection.send(Result(recipe="uid", state="complete", objective=0.5))
            case "ask":
                connection.send(epoch(1))
                decision = connection.recv()
                connection.send(Result(recipe="uid", state="pruned", reason=decision))
            case "ask, then think":
                connection.send(epoch(1))
                decision = connection.recv()
                time.sleep(0.5)
                connection.send(Result(recipe="uid", state="pruned", reason=decision))
            case "bug":
                connection.send(Bug("ZeroDivisionError"))
            case "report and die":
                connection.send(epoch(1))
                os.kill(os.getpid(), signal.SIGKILL)
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(3)
            case "die in the middle of a word":
                # A long message goes over a pipe as its length, then its bytes.
                os.write(connection.fileno(), (100_000).to_bytes(4, "big") + b"\x80")
                os._exit(4)
            case "finish, then leave":
                connection.send(Result(recipe="uid", state="complete", objective=0.5))
                connection.close()
                os._exit(0)
            case "live and stand still":
                for _ in range(100):
                    connection.send(Beat(3, 0.5))
                    time.sleep(0.2)
            case "move slowly":
                for steps in range(35):
                    connection.send(Beat(steps, 0.5))
                    time.sleep(0.2)
                connection.send(Result(recipe="uid", state="complete", objective=0.5))
            case "sleep":
                time.sleep(600)
            case other:
                raise ValueError(other)


def epoch(number: int, objective: float = 0.5) -> Epoch:
    """Return an epoch."""
    return Epoch(
        epoch=number,
        train_loss=1.0,
        lr=0.1,
        metrics={"auc": objective},
        objective=objective,
        seconds=0.1,
    )
