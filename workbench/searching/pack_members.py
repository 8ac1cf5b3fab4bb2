"""The members of a known pack: no two are one recipe, and its study has no other trials."""

from collections.abc import Mapping

from workbench.console import cut_text
from workbench.errors import ConfigError, StudyError
from workbench.searching.proposals import Proposals
from workbench.space.recipe_builder import RecipeBuilder
from workbench.space.space import SampledConfig
from workbench.study.since_begun import differences


class PackMembers:
    """What a file says of a pack's members now.

    Args:
        drafts: The members, each by what says it.
        builder: Makes their recipes, as the study has them.
        study: Its name.

    Raises:
        ConfigError: two of them come to the same recipe, as where the precision that one leaves
            open is settled as the other says it.
    """

    def __init__(
        self, drafts: Mapping[str, SampledConfig], builder: RecipeBuilder, *, study: str
    ) -> None:
        self._drafts, self._builder, self._study = drafts, builder, study
        self._said_by: dict[str, str] = {}
        """What says a member, by its recipe's uid."""

        for where, draft in drafts.items():
            other = self._said_by.setdefault(builder.make(draft).uid, where)
            if other != where:
                raise ConfigError(
                    f"{where} comes to the same recipe as {other} on this machine "
                    f"({'; '.join(_unlike(self._drafts[other], draft))}), and would score the "
                    "same. Change another key of it, e.g. its augmentation."
                )

    def require_of(self, proposals: Proposals) -> None:
        """See that all that the study has tried, or is to try, are these.

        Raises:
            StudyError: the file said another member when the study began.
        """
        for where, draft, uid in proposals.begun():
            if draft in self._drafts.values() or uid in self._said_by:
                continue
            if draft is not None and not uid and self._builder.make(draft).uid in self._said_by:
                continue  # its trial was restored from its recipe, in which nothing is open
            now = self._drafts.get(where)
            changed = [] if now is None or draft is None else _unlike(draft, now)
            more = f"; and {len(changed) - 1} more" if len(changed) > 1 else ""
            is_said = f" ({changed[0]}{more})" if changed else ""
            raise StudyError(
                f"The study {self._study} was begun with other members: {where or 'one'}{is_said} "
                "changed. All its trials are joined as the pack that the file says: undo the "
                "change, or start another study by --study NAME."
            )

    def told_missing(self, proposals: Proposals) -> str:
        """Return which members have not ended, as a sentence; empty if all have.

        Nothing is in flight: what has a recipe's uid has ended.
        """
        ended = [(draft, uid) for _, draft, uid in proposals.begun() if uid]
        drafts, uids = [draft for draft, _ in ended], {uid for _, uid in ended}
        missing = [
            where.rpartition(", ")[2]
            for uid, where in self._said_by.items()
            if uid not in uids and self._drafts[where] not in drafts
        ]
        if not missing:
            return ""
        return (
            f"The pack is not promoted, since it lacks {cut_text(', '.join(missing), 300)}: the "
            "same command goes on with what it lacks."
        )


def _unlike(was: SampledConfig, now: SampledConfig) -> list[str]:
    return [*differences(was.model_dump(mode="json"), now.model_dump(mode="json"))]
