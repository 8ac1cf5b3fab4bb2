"""What is promoted where finalists were trained again: the best of them, or a pack."""

from dataclasses import replace
from html import escape
from pathlib import Path

import pytest

from tests.selection.studies import MadeStudy
from tests.selection.test_finalists import KnownModels, Round
from tests.selection.test_packs_made import add_trials
from tests.selection.test_promotion import ListedModels, save_weights
from workbench.access import is_locked
from workbench.errors import StudyError
from workbench.report.decision import decision_callout
from workbench.report.pack import pack_section
from workbench.selection import best_model
from workbench.selection.best_model import promote_as_asked, promote_newest_pack
from workbench.selection.champion import Champion, describe_champion
from workbench.selection.pack_promotion import promote_pack
from workbench.selection.pack_proposal import Proposal, make_pack, propose_pack
from workbench.selection.promotion import promote, promote_best
from workbench.selection.summary import summarise
from workbench.study.packs import FinalistHeld
from workbench.study.repeats import read_repeats

PLACE = Path("mlruns")


def a_round(root: Path, shift: float) -> Round:
    """Return a study of five trials that err on files of their own; trial 0 was trained again."""
    made = Round(root)
    add_trials(made.study, 5)
    made.plan(0, num_seeds=2)
    for place in (1, 2):
        made.repeat(0, place, shift)
    for number, repeat in enumerate(read_repeats(made.folder)):
        save_weights(made.study, made.folder.trial(repeat.recipe).read_recipe(), seed=number)
    return made


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[Champion]:
    """Champions that MLflow was told of, in the place of a store."""
    champions: list[Champion] = []
    monkeypatch.setattr(best_model, "tell_in_mlflow", lambda *given: champions.append(given[2]))
    return champions


@pytest.fixture
def _no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(best_model, "pack_run", lambda *_: "run-9")


def best_of(made: Round) -> Champion:
    return promote_as_asked(made.folder, ListedModels(), PLACE, "best")


@pytest.mark.usefixtures("_no_store")
def test_a_pack_that_is_worth_more_than_the_finalists_mean_is_promoted(tmp_path: Path) -> None:
    made = a_round(tmp_path, 0.3)
    mean, expected = made.read().ranked[0].mean, propose_pack(made.folder).estimate.expected
    assert mean and expected and expected > mean + 0.1
    champion = best_of(made)
    assert champion.is_pack and champion.chosen_by == "best"
    assert champion.runner_up and champion.runner_up.model_dump() == {
        "number": 0,
        "objective": mean,
    }
    assert champion.margin == pytest.approx(expected - mean)
    told = (
        f"It is expected to be better than the best finalist by {expected - mean:.3f} (trial 0, "
        f"mean {mean:.3f} over 2 new seeds)."
    )
    assert told in describe_champion(champion)
    summary, _ = summarise(made.folder, made.study.rows, made.study.objective)
    assert told in decision_callout(made.folder, summary)
    assert summary.pack and summary.pack.estimate
    assert summary.pack.estimate.gain_sentence == told
    # As asked, or as the rulebook says, the finalist is promoted all the same.
    again = promote_as_asked(made.folder, ListedModels(), PLACE, "none")
    assert (again.number, len(again.repeats)) == (0, 2)


def test_a_finalist_whose_mean_is_better_is_promoted_and_says_so(tmp_path: Path) -> None:
    made = a_round(tmp_path, 1.5)
    mean, expected = made.read().ranked[0].mean, propose_pack(made.folder).estimate.expected
    assert mean and expected and mean > expected + 0.02
    champion = best_of(made)
    assert (champion.number, len(champion.repeats)) == (0, 2)
    said = (
        f"The best finalist is expected to be better than the pack of 5 models by "
        f"{mean - expected:.3f} (trial 0, mean {mean:.3f} over 2 new seeds against auc "
        f"{expected:.3f})."
    )
    assert champion.why.startswith("Trained again 2 times with new seeds, trial 0 has the best")
    assert champion.why.endswith(said)


@pytest.mark.usefixtures("_no_store")
def test_before_all_repeats_have_ended_and_by_hand_the_finalists_say_nothing(
    tmp_path: Path, told: list[Champion]
) -> None:
    made = a_round(tmp_path, 1.5)
    made.plan(0, num_seeds=3)
    assert propose_pack(made.folder).finalist is None
    assert best_of(made).is_pack
    registry = ListedModels()
    promote(made.folder, registry, 2)
    champion = promote_as_asked(made.folder, registry, PLACE, "best")
    assert (champion.number, champion.chosen_by) == (2, "by hand")
    assert told[-1] == champion


def test_while_one_process_promotes_no_other_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Round(tmp_path)
    made.begin()
    registry = KnownModels(made.study.rows[0].recipe)
    held: list[bool] = []

    class Registry(KnownModels):
        def set_champion(self, name: str, uid: str, study_id: str, weights: str) -> str | None:
            held.append(is_locked(made.folder.path / ".promoting"))
            return registry.set_champion(name, uid, study_id, weights)

    monkeypatch.setattr(
        best_model,
        "tell_in_mlflow",
        lambda *_: held.append(is_locked(made.folder.path / ".promoting")),
    )
    promote_as_asked(made.folder, Registry(), PLACE, "none")
    # Else another could give the alias to its model, and write champion.json before this one does,
    # and MLflow would then be told of the older one.
    assert held == [True, True]
    assert not is_locked(made.folder.path / ".promoting")


def test_a_pack_stays_out_where_the_rulebook_asks_for_one_network(tmp_path: Path) -> None:
    made = Round(tmp_path)
    made.study = MadeStudy(tmp_path, "strict", rulebook={"single_model": "backbone"})
    made.folder = made.study.folder
    add_trials(made.study, 3)
    assert best_of(made).number is not None


@pytest.fixture
def proposal(tmp_path: Path) -> Proposal:
    """A pack that is expected to have 0.732, chosen on files that tell 0.004 apart."""
    made = Round(tmp_path)
    add_trials(made.study, 3)
    found = propose_pack(made.folder)
    of_pack = replace(found.correction.of_pack, value=0.732)
    correction = replace(found.correction, of_pack=of_pack, rounding=0.004, pack_params=300)
    return replace(found, correction=correction)


@pytest.mark.parametrize(
    ("mean", "params", "is_promoted", "said"),
    [
        (0.635, 100, True, "The pack of 3 models is expected to be better than the best finalist "
         "by 0.097 (auc 0.732 against trial 4, mean 0.635 over 3 new seeds)."),
        (0.740, 400, False, "The best finalist is expected to be better than the pack of 3 models "
         "by 0.008 (trial 4, mean 0.740 over 3 new seeds against auc 0.732)."),
        (0.729, 100, False, "The best finalist is expected to be as good as the pack of 3 models "
         "and is no larger (trial 4, mean 0.729 over 3 new seeds against auc 0.732)."),
        (0.735, 301, True, "The pack of 3 models is expected to be as good as the best finalist "
         "and is no larger (auc 0.732 against trial 4, mean 0.735 over 3 new seeds)."),
    ],
)  # fmt: skip
def test_the_decision_is_by_what_is_expected_and_ties_go_to_the_smaller(
    proposal: Proposal, mean: float, params: int, is_promoted: bool, said: str
) -> None:
    held = FinalistHeld(number=4, mean=mean, num_seeds=3, params=params, lead=0.732 - mean)
    found = replace(proposal, finalist=held)
    assert (found.is_promoted, found.sentence) == (is_promoted, said)
    assert found.estimate.is_tie == (abs(0.732 - mean) <= 0.004)


def test_where_one_trial_is_the_best_pack_the_finalist_is_not_said_to_be_better(
    proposal: Proposal,
) -> None:
    held = FinalistHeld(number=4, mean=0.635, num_seeds=3, params=100, lead=0.097)
    pack = replace(proposal.correction.pack, members=(0,))
    found = replace(
        proposal,
        ingredients=proposal.ingredients[:1],
        correction=replace(proposal.correction, pack=pack),
        finalist=held,
    )
    assert not found.is_promoted
    assert found.sentence == (
        "No pack was better than one trial; the best finalist is taken (trial 4, mean 0.635 over "
        "3 new seeds)."
    )


def test_lower_is_better_for_a_loss(tmp_path: Path) -> None:
    made = Round(tmp_path)
    made.study = MadeStudy(tmp_path, "loss", "log_loss")
    made.folder = made.study.folder
    add_trials(made.study, 3)
    made.plan(1, num_seeds=1)
    made.repeat(1, 1, 0.3)
    found = propose_pack(made.folder)
    assert found.finalist and found.finalist.told.endswith("over a new seed")
    assert found.finalist.lead == pytest.approx(
        found.finalist.mean - found.correction.of_pack.value
    )


def test_a_pack_whose_finalist_was_overtaken_says_so(tmp_path: Path) -> None:
    made = a_round(tmp_path, 0.3)
    _, record = make_pack(made.folder, propose_pack(made.folder))
    registry = ListedModels()
    promote_pack(made.folder, registry, record.uid, run_id="r", why="Since.", is_by_hand=True)
    before = promote_best(made.folder, registry)
    made.plan(0, 1, num_seeds=2)
    for place in (1, 2):
        made.repeat(1, place, 1.5)
    best = made.read().ranked[0]
    assert best.row.number == 1 and best.mean
    told = (
        f"By now the best finalist is trial 1, mean {best.mean:.3f} over 2 new seeds. "
        "`workbench pack` chooses anew."
    )
    summary, _ = summarise(made.folder, made.study.rows, made.study.objective)
    assert summary.pack and summary.pack.overtaken == told
    assert escape(told) in pack_section(summary)
    now = promote_best(made.folder, registry)
    assert now.sentence == f"{before.sentence} {told}"


@pytest.mark.usefixtures("_no_store")
def test_a_trial_that_can_be_no_member_since_its_scores_are_damaged_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 5)
    best = max(made.rows, key=lambda row: row.objective or 0)
    made.folder.trial(best.recipe).scores.write_bytes(b"torn")
    champion = promote_as_asked(made.folder, ListedModels(), PLACE, "best")
    assert champion.is_pack and str(best.number) not in champion.members
    said = f"Trial {best.number} is left out: scores.parquet is damaged ("
    assert capsys.readouterr().err.count(said) == 1


@pytest.mark.usefixtures("_no_store")
def test_the_pack_of_a_known_recipe_takes_no_place_by_hand_and_is_held_to_constraints(
    tmp_path: Path,
) -> None:
    made = MadeStudy(tmp_path, constraints={"params": {"at_most": 1e5}})
    add_trials(made, 2)
    models = ListedModels()
    said = r"The pack of all members breaks a constraint: params is .*, not at most 0.1M\. It is .*"
    with pytest.raises(StudyError, match=said + r"hand only: `workbench promote made --pack`\."):
        promote_as_asked(made.folder, models, PLACE, "all")
    assert not made.folder.champion.exists()
    by_hand = promote_newest_pack(made.folder, models, PLACE)
    assert "It breaks a constraint: params is" in by_hand.why

    plain = MadeStudy(tmp_path, "plain")
    add_trials(plain, 2)
    assert promote_as_asked(plain.folder, models, PLACE, "all").is_pack
    promote(plain.folder, models, 1)
    again = promote_as_asked(plain.folder, models, PLACE, "all")
    assert (again.number, again.chosen_by) == (1, "by hand")
