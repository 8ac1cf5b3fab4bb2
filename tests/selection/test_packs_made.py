"""Packs of made studies: chosen, written, promoted; with a list in the place of the registry."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.own_parts import BACKBONE
from tests.selection.studies import MadeStudy, normal_scores
from tests.selection.test_finalists import Round
from tests.selection.test_promotion import ListedModels, save_weights
from workbench.api.made_pack import pack_trials
from workbench.errors import ConfigError, DamagedFileError, RuleError, StudyError
from workbench.files import PART, hash_file, write_text
from workbench.media.frames import Frames
from workbench.parts.any_over_frames import AttentionOverFrames
from workbench.parts.joint import MeanOfProbabilities
from workbench.parts.pack_spec import PackSpec, with_views_told_apart
from workbench.parts.plugins import Plugin
from workbench.report.decision import decision_callout
from workbench.report.pack import pack_section
from workbench.rules.rulebook import Rulebook
from workbench.selection import packing
from workbench.selection.champion import describe_champion, folds_told, read_champion
from workbench.selection.leaderboard import as_table, rank
from workbench.selection.operating_points import operating_points
from workbench.selection.pack_promotion import against_in_words, promote_pack
from workbench.selection.pack_proposal import Limits, make_pack, propose_pack
from workbench.selection.pack_summary import (
    decision_for_pack,
    describe_pack,
    kept_pack,
    summarise_pack,
)
from workbench.selection.packing import Ingredient, counted, join_tables, record_of, write_pack
from workbench.selection.promotion import choose_trial, promote_best
from workbench.selection.summary import describe_summary, summarise
from workbench.study.folder import StudyFolder
from workbench.study.packs import PackEstimate
from workbench.trial.delong import auc
from workbench.trial.recipe import Objective, Recipe
from workbench.workspace import Workspace

SHIFT = 0.7


def add_trials(made: MadeStudy, num: int) -> list[torch.nn.Module]:
    """Add trials that err on files of their own, so that each adds to a pack."""
    models = []
    for number in range(num):
        targets, scores = normal_scores(SHIFT, seed=number + 1, noise=1.0)
        recipe = made.add(targets, scores, run=f"run-{number}")
        models.append(save_weights(made, recipe, seed=number))
    return models


def even_pack(made: MadeStudy, num: int = 2) -> tuple[list[Ingredient], MeanOfProbabilities]:
    ingredients = [Ingredient(made.folder, row) for row in made.rows[:num]]
    return ingredients, MeanOfProbabilities(weights=(1 / num,) * num)


def test_a_pack_scores_by_its_members_and_holds_their_weights(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    models = add_trials(made, 2)
    ingredients, joint = even_pack(made)
    times = (3.5, None)
    ingredients = [
        replace(one, row=one.row.model_copy(update={"ms_per_file": time}))
        for one, time in zip(ingredients, times, strict=True)
    ]
    record = record_of(ingredients, joint, made.objective, num_trials=2)
    files = write_pack(made.folder, record, ingredients)
    assert tuple(one.ms_per_file for one in summarise_pack(made.folder, files).members) == times

    tables = [
        made.folder.trial(one.row.recipe).read_scores().sort_values(["slice", "name"])
        for one in ingredients
    ]
    scores = files.read_scores()
    by_hand = (tables[0]["score"].to_numpy() + tables[1]["score"].to_numpy()) / 2
    np.testing.assert_allclose(scores["score"], by_hand, atol=1e-12)
    assert set(scores["slice"]) == {"val", "test"}
    result = files.read_result()
    assert result is not None
    val = scores[scores["slice"] == "val"]
    assert result.objective == pytest.approx(auc(val["target"], val["score"]).value)
    assert result.seconds == pytest.approx(20.0)

    pack = record.spec.build()
    pack.load_state_dict(load_file(files.weights))
    inputs = {"mel": torch.rand(2, 1, 1, 32, 32)}
    for own, member in zip(models, pack.eval().members, strict=True):
        with torch.no_grad():
            torch.testing.assert_close(member(inputs), own(inputs), rtol=0, atol=0)
    # The same pack again is the same folder, and is not written anew.
    written = files.result.stat().st_mtime_ns
    assert write_pack(made.folder, record, ingredients).path == files.path
    assert files.result.stat().st_mtime_ns == written


def changed(made: MadeStudy, recipe: Recipe, **changes: object) -> Recipe:
    """Let a trial be of another recipe, and write weights of it; return that."""
    files = made.folder.trial(recipe.uid)
    other = recipe.replaced(**changes).named(recipe.uid)
    files.write_recipe(other)
    result = files.read_result()
    assert result is not None
    files.write_result(result.model_copy(update={"recipe_sha256": hash_file(files.recipe)}))
    save_weights(made, other, seed=3)
    return other


def test_what_is_over_the_frames_of_a_view_that_got_another_name_is_kept(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    targets, scores = normal_scores(SHIFT, seed=1, noise=1.0)
    recipes = [
        changed(
            made,
            made.add(targets, scores),
            views={"frames": Frames(num_frames=num, image_px=32)},
            over_frames=AttentionOverFrames(hidden=8),
        )
        for num in (2, 3)
    ]
    members, _ = with_views_told_apart([recipe.model for recipe in recipes])
    spec = PackSpec(members=members, joint=MeanOfProbabilities(weights=(0.5, 0.5)))
    pack = spec.build()
    folders = [made.folder.trial(recipe.uid) for recipe in recipes]
    pack.load_state_dict(packing.pack_tensors(spec, folders))
    own = load_file(folders[1].weights)["over_frames.frames.inward.weight"]
    assert torch.equal(pack.state_dict()["members.1.over_frames.frames_2.inward.weight"], own)


def test_members_with_two_versions_of_a_backbone_are_refused(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 2)
    ingredients, joint = even_pack(made)
    source = BACKBONE.replace("my_tiny", "packed_net")
    for one, text in zip(ingredients, (source, source.replace("relu", "sin")), strict=True):
        recipe = made.folder.trial(one.row.recipe).read_recipe()
        plugin = Plugin(file="packed_net.py", source=text)
        changed(made, recipe, backbone="packed_net", plugins=(plugin,))
    with pytest.raises(ConfigError, match=r"need two versions of the plugin packed_net\.py"):
        record_of(ingredients, joint, made.objective, num_trials=2)


def test_a_pack_is_counted_by_the_plugin_of_its_members_and_not_by_that_of_its_study(
    tmp_path: Path,
) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 2)
    proposal = replace(propose_pack(made.folder), joint=MeanOfProbabilities(weights=(1.0,)))
    source = BACKBONE.replace("my_tiny", "kept_net")
    wider = source.replace("(in_chans, 4", "(in_chans, 40").replace("Linear(4", "Linear(40")
    plugin = Plugin(file="kept_net.py", source=wider)
    (one, *_) = proposal.ingredients
    recipe = made.folder.trial(one.row.recipe).read_recipe()
    changed(made, recipe, backbone="kept_net", plugins=(plugin,))
    about = yaml.safe_load(made.folder.experiment_file.read_text(encoding="utf-8"))
    about["experiment"]["plugins"] = [{"file": "kept_net.py", "source": source}]
    made.folder.experiment_file.write_text(yaml.safe_dump(about), encoding="utf-8")
    _, record = make_pack(made.folder, replace(proposal, ingredients=(one,)))
    # A convolution of 3 x 3 of one channel to 40, two logits of them, and a weight of the joint.
    assert record.params_true == 40 * 9 + 40 + 2 * 40 + 2 + 1


def test_a_pack_that_is_cut_short_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 2)
    ingredients, joint = even_pack(made)
    record = record_of(ingredients, joint, made.objective, num_trials=2)

    def stroke(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(packing, "save_file", stroke)
    with pytest.raises(KeyboardInterrupt):
        write_pack(made.folder, record, ingredients)
    assert not made.folder.pack(record.uid).path.exists()
    assert list((made.folder.path / "packs").iterdir()) == []


def test_the_record_of_another_pack_is_not_taken_for_its_own(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 3)
    packs = []
    for num in (2, 3):
        several, joint = even_pack(made, num)
        record = record_of(several, joint, made.objective, num_trials=3)
        packs.append(write_pack(made.folder, record, several))
    shutil.copyfile(packs[0].record, packs[1].record)
    assert len(packs[0].read_pack().members) == 2
    with pytest.raises(DamagedFileError, match=r"pack\.json is not what was written"):
        packs[1].read_pack()


def test_what_a_killed_one_left_is_no_pack_and_goes_away(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 2)
    left = made.folder.path / "packs" / f"{PART}0123"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    with pytest.raises(StudyError, match="has no pack"):
        made.folder.newest_pack()
    files, _ = make_pack(made.folder, propose_pack(made.folder))
    assert list((made.folder.path / "packs").iterdir()) == [files.path]


def test_a_changed_weight_of_a_member_is_noticed(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 2)
    ingredients, joint = even_pack(made)
    record = record_of(ingredients, joint, made.objective, num_trials=2)
    files = write_pack(made.folder, record, ingredients)
    data = bytearray(files.weights.read_bytes())
    data[-1] ^= 1
    files.weights.write_bytes(bytes(data))
    with pytest.raises(DamagedFileError, match="is not what the trial wrote"):
        files.require_unchanged()


def test_a_kill_between_the_two_files_of_a_new_estimate_does_not_block_the_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 3)
    proposal = propose_pack(made.folder)
    files, _ = make_pack(made.folder, proposal)
    # Chosen among more trials, it is the same pack with another estimate.
    more = replace(proposal, num_trials=4)
    for last in range(3):
        left = iter(range(last))

        def write(path: Path, text: str, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            write_text(path, text)

        with monkeypatch.context() as killed:
            killed.setattr("workbench.study.packs.write_text", write)
            killed.setattr("workbench.trial.result.write_text", write)
            with pytest.raises(KeyboardInterrupt):
                make_pack(made.folder, more)
        files.require_unchanged()  # it may be the champion, and exported
    assert make_pack(made.folder, more)[0].path == files.path
    files.require_unchanged()
    assert files.read_pack().num_trials == 4
    data = bytearray(files.weights.read_bytes())
    data[-1] ^= 1
    files.weights.write_bytes(bytes(data))
    with pytest.raises(DamagedFileError, match="is not what the trial wrote"):
        make_pack(made.folder, more)


def test_members_that_help_one_another_are_chosen_and_held_against_the_best(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 5)
    proposal = propose_pack(made.folder)
    assert len(proposal.ingredients) >= 3
    assert proposal.num_trials == 5
    assert proposal.is_promoted
    assert proposal.estimate.gain is not None and proposal.estimate.gain > 0
    with made.folder.held(), pytest.raises(StudyError, match="is held by another"):
        make_pack(made.folder, proposal)  # it is cleaned, for one
    assert not (made.folder.path / "packs").exists()
    files, record = make_pack(made.folder, proposal)
    assert made.folder.newest_pack().path == files.path
    summary = summarise_pack(made.folder, files)
    assert [one.name for one in summary.members] == [
        str(one.row.number) for one in proposal.ingredients
    ]
    assert all(one.weight > 0 for one in summary.members)
    val = files.read_scores().query("slice == 'val'")
    assert summary.clean_slice == "val"
    assert summary.operating_points == operating_points(val["target"], val["score"])
    assert all(one.agreement is not None and one.agreement < 1 for one in summary.members)
    said = describe_pack(summary)
    assert f"Pack {record.uid}" in said
    assert "Expected on new data of this kind" in said


def test_a_pack_held_against_a_trial_without_weights_says_so(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 4)
    best = propose_pack(made.folder).best
    assert "are gone" not in propose_pack(made.folder).estimate.sentence
    made.folder.trial(best.row.recipe).weights.unlink()
    proposal = propose_pack(made.folder)
    assert proposal.best.row.number == best.row.number
    assert proposal.estimate.sentence.endswith(
        f"The weights of trial {best.row.number} of {made.folder.name}, which it is held against, "
        "are gone: that trial itself can be in no bundle."
    )


def test_the_surest_mistakes_of_a_pack_are_told_with_what_each_member_says(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 2)
    ingredients, joint = even_pack(made)
    files = write_pack(
        made.folder, record_of(ingredients, joint, made.objective, num_trials=2), ingredients
    )
    one, other = (
        made.folder.trial(each.row.recipe).read_scores().query("slice == 'val'")
        for each in ingredients
    )
    both = one.merge(other, on=["name", "target"], suffixes=("_one", "_other"))
    both["score"] = (both["score_one"] + both["score_other"]) / 2
    wrong = both[(both["score"] >= 0.5) != (both["target"] == 1)]
    surest = wrong.loc[(wrong["score"] - 0.5).abs().sort_values(ascending=False).index[:6]]
    mistakes = summarise_pack(made.folder, files).mistakes
    assert [each.name for each in mistakes] == surest["name"].tolist()
    for each, (_, row) in zip(mistakes, surest.iterrows(), strict=True):
        assert each.by_member == pytest.approx((row["score_one"], row["score_other"]))
        assert each.score == pytest.approx(row["score"])
        assert each.target == row["target"]
    folder_rows, _ = summarise(made.folder, made.rows, made.objective)
    page = pack_section(folder_rows.model_copy(update={"pack": summarise_pack(made.folder, files)}))
    assert "What each member says" in page and escape(surest["name"].iloc[0]) in page


def test_the_limits_hold_and_the_rulebook_decides_before_anything_is_written(
    tmp_path: Path,
) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 3)
    two = propose_pack(made.folder, limits=Limits(members=2))
    assert len(two.ingredients) <= 2
    with pytest.raises(StudyError, match="no trial is within the limits"):
        propose_pack(made.folder, limits=Limits(params=1_000_000))
    strict = MadeStudy(tmp_path, "strict", rulebook={"single_model": "backbone"})
    add_trials(strict, 2)
    with pytest.raises(RuleError, match="allows one network for each view"):
        propose_pack(strict.folder)
    ingredients, joint = even_pack(made)
    record = record_of(ingredients, joint, made.objective, num_trials=3)
    whole = counted(record, Rulebook()).params_true or 0
    assert counted(record, Rulebook(max_params=whole)).params_thop == whole
    with pytest.raises(RuleError, match=r"over the limit .* Nothing was written\."):
        counted(record, Rulebook(max_params=whole - 1))
    assert not (made.folder.path / "packs").exists()


def test_one_trial_makes_no_pack_and_trials_of_other_files_none_together(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 1)
    with pytest.raises(StudyError, match="there is one"):
        propose_pack(made.folder)
    targets, scores = normal_scores(SHIFT, seed=9)
    names = [f"other{index:05d}.mp4" for index in range(len(targets))]
    save_weights(made, made.add(targets, scores, run="run-9", names=names), seed=9)
    ingredients, joint = even_pack(made)
    record = record_of(ingredients, joint, made.objective, num_trials=2)
    with pytest.raises(StudyError, match="scored on other files"):
        write_pack(made.folder, record, ingredients)


def test_a_trial_without_weights_is_no_member_and_one_of_those_chosen_among(
    tmp_path: Path,
) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 4)
    best = propose_pack(made.folder).best.row
    made.folder.trial(best.recipe).weights.unlink()
    proposal = propose_pack(made.folder)
    assert proposal.num_trials == 4
    assert best.number not in {one.row.number for one in proposal.ingredients}
    assert proposal.best.row == best
    for row in made.rows:
        made.folder.trial(row.recipe).weights.unlink(missing_ok=True)
    with pytest.raises(StudyError, match="there is none"):
        propose_pack(made.folder)


def test_a_trial_that_breaks_a_constraint_on_a_metric_is_no_member_and_counts_in_the_choice(
    tmp_path: Path,
) -> None:
    plain = MadeStudy(tmp_path, "plain")
    add_trials(plain, 4)
    rates = sorted(row.metrics["fpr"] for row in plain.rows)
    assert rates[2] < rates[3]
    made = MadeStudy(tmp_path, constraints={"fpr": {"at_most": (rates[2] + rates[3]) / 2}})
    add_trials(made, 4)
    (breaking,) = [row.number for row in made.rows if row.breaks]
    proposal = propose_pack(made.folder)
    assert proposal.num_trials == 4
    named = {proposal.best.row.number, *(one.row.number for one in proposal.ingredients)}
    assert breaking not in named
    # Too large whatever the files are: the choice is among none.
    small = MadeStudy(tmp_path, "small", constraints={"params": {"at_most": 10}})
    add_trials(small, 2)
    with pytest.raises(StudyError, match="keep the constraints"):
        propose_pack(small.folder)


def test_a_study_of_other_files_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    made, other = MadeStudy(tmp_path), MadeStudy(tmp_path, "other")
    add_trials(made, 2)
    targets, scores = normal_scores(SHIFT, seed=9)
    names = [f"other{index:05d}.mp4" for index in range(len(targets))]
    save_weights(other, other.add(targets, scores, run="run-9", names=names), seed=9)
    with pytest.raises(StudyError, match="trials of other were scored on other files"):
        propose_pack(made.folder, [other.folder])


def test_what_a_pack_is_worth_is_told_anew_when_it_is_chosen_among_more(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 3)
    limits = Limits(members=3)  # the best three, counted alike
    files, _ = make_pack(made.folder, propose_pack(made.folder, limits=limits))
    written = files.weights.stat().st_mtime_ns
    targets, scores = normal_scores(-SHIFT, seed=9)  # the worst by far: no member
    save_weights(made, made.add(targets, scores, run="run-9"), seed=9)
    again, record = make_pack(made.folder, propose_pack(made.folder, limits=limits))
    assert again.path == files.path
    assert again.read_pack().model_dump() == record.model_dump()
    assert (record.num_trials, record.estimate and record.estimate.num_trials) == (4, 4)
    again.require_unchanged()
    assert again.weights.stat().st_mtime_ns == written


def test_a_pack_is_told_the_files_of_which_no_member_saw_anything(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 2)
    for row, unseen in zip(made.rows, (range(6), range(2, 9)), strict=True):
        files = made.folder.trial(row.recipe)
        names = [f"clip{number:05d}.mp4" for number in unseen]
        scores = files.read_scores()
        files.write_scores(scores.assign(neutral=scores["name"].isin(names)))
    ingredients, joint = even_pack(made)
    record = record_of(ingredients, joint, made.objective, num_trials=2)
    write_pack(made.folder, record, ingredients)
    told = "4 of 200 files of val (2 fake, 2 real) have none of the views that it reads: "
    promoted = promote_pack(
        made.folder, ListedModels(), record.uid, run_id="run", why="Since.", is_by_hand=True
    )
    assert promoted.unseen.startswith(told)
    summary, _ = summarise(made.folder, made.rows, made.objective)
    assert told in summary.decision[1]


def test_a_promoted_pack_is_the_champion_and_is_told_as_one(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 4)
    _, record = make_pack(made.folder, propose_pack(made.folder))
    registry = ListedModels()
    champion = promote_pack(
        made.folder, registry, record.uid, run_id="run-9", why="Since.", is_by_hand=False
    )
    assert read_champion(made.folder) == champion
    assert (champion.number, champion.recipe) == (None, record.uid)
    assert (
        champion.title
        == f"the pack of trials {', '.join(champion.members[:-1])} and " + (champion.members[-1])
    )
    kept = registry.kept[0]
    assert kept["tags"]["workbench.uid"] == record.uid
    # Each row a file; both see the same grey picture, so that they score alike.
    with torch.no_grad():
        scores = kept["model"](torch.from_numpy(kept["example"]))
    assert scores.shape == (2,)
    assert scores[0].item() == pytest.approx(scores[1].item())
    said = describe_champion(champion)
    assert said.startswith(f"Champion: {champion.title}, auc ")
    gain = record.estimate.gain_sentence if record.estimate else ""
    assert gain.startswith("It is expected to be better than the best single trial by ")
    weights = record.spec.joint.weights
    heaviest = record.members[weights.index(max(weights))].number
    assert said.splitlines()[1:-1] == [
        record.estimate.sentence if record.estimate else "",
        gain,
        f"Trial {heaviest} counts most in it; the best single trial was trial "
        f"{record.best_single}.",
    ]

    summary, _ = summarise(made.folder, made.rows, made.objective)
    assert summary.pack is not None and summary.pack.uid == record.uid
    assert summary.decision[0].startswith("The pack of trials ")
    box = decision_callout(made.folder, summary)
    assert "Registered as made version" in box
    assert f"When it was promoted: {escape(gain)}" in box
    assert box.count(escape(gain)) == box.count("pack of trials") == 1
    assert "xpected on new data" not in pack_section(summary)
    lines = describe_summary(summary).splitlines()
    best, other = summary.contenders[:2]
    told = f"Of trial {best.number}, {best.value:.5f}, the best single one of this study:"
    of_single = lines.index(told)
    assert lines[of_single - 1] == summary.pack.rates_in_words
    assert lines[of_single - 1].startswith(f"TPR on val {summary.pack.operating_points[0].tpr:.3f}")
    assert lines[of_single + 1].startswith("TPR on val ")
    # Of several folds it is said whose weights those are, as of a trial.
    assert "out of fold" not in summary.decision[1]
    about = yaml.safe_load(made.folder.experiment_file.read_text())
    about["experiment"]["validation"] = {"kind": "stratified", "folds": 3, "use": 3}
    before = made.folder.experiment_file.read_text()
    made.folder.experiment_file.write_text(yaml.safe_dump(about))
    worth = summarise(made.folder, made.rows, made.objective)[0].decision[1]
    made.folder.experiment_file.write_text(before)
    assert worth == f"{summary.decision[1]} {folds_told(3)}"
    # It is behind that trial, not behind the pack.
    assert lines[of_single + 2].startswith(f"Runner-up: trial {other.number}, {other.value:.5f}, ")
    # A later pack does not take its place, and a member that is lost is said.
    later, _ = make_pack(made.folder, propose_pack(made.folder, limits=Limits(members=2)))
    assert later.path.name != record.uid
    summary, _ = summarise(made.folder, made.rows, made.objective)
    assert summary.pack is not None and summary.pack.uid == record.uid
    shutil.rmtree(made.folder.pack(record.uid).path)
    summary, _ = summarise(made.folder, made.rows, made.objective)
    assert summary.pack is None
    assert summary.decision[0].startswith(f"The pack of trials {champion.members[0]}")
    make_pack(made.folder, propose_pack(made.folder))

    # Promoted again, nothing is registered twice.
    promote_pack(made.folder, registry, record.uid, run_id="x", why="Since.", is_by_hand=True)
    assert len(registry.kept) == 1


def test_a_pack_whose_best_single_trial_was_overtaken_says_so(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 3)
    _, record = make_pack(made.folder, propose_pack(made.folder))
    registry = ListedModels()
    before = promote_pack(
        made.folder, registry, record.uid, run_id="r", why="Since.", is_by_hand=True
    )
    summary, _ = summarise(made.folder, made.rows, made.objective)
    assert summary.pack is not None and summary.pack.overtaken == ""
    assert promote_best(made.folder, registry) == before
    made.add(*normal_scores(2 * SHIFT, seed=9), run="run-9")
    held, best = made.rows[record.best_single or 0].objective, made.rows[3].objective
    told = (
        f"That single trial is trial {record.best_single}, {held:.5f}; trial 3 has {best:.5f}. "
        "`workbench pack` chooses anew."
    )
    summary, _ = summarise(made.folder, made.rows, made.objective)
    assert summary.pack is not None
    assert told in describe_pack(summary.pack).splitlines()
    assert told in describe_pack(summary.pack, summary.pack.gain_in_words).splitlines()
    assert escape(told) in pack_section(summary)
    now = promote_best(made.folder, registry)
    assert now.sentence == f"{before.sentence} {told}"
    assert promote_best(made.folder, registry) == now
    assert read_champion(made.folder) == now


def test_the_slices_of_its_objective_are_no_other_data_to_a_pack(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path, objective=Objective(over=("val", "degraded"), aggregate="mean"))
    for number in range(3):
        targets, scores = normal_scores(SHIFT, seed=number + 1, noise=1.0)
        recipe = made.add(targets, scores, slices={"degraded.jpeg30": range(150)})
        save_weights(made, recipe, seed=number)
    _, record = make_pack(made.folder, propose_pack(made.folder))
    summary = summarise_pack(made.folder, made.folder.pack(record.uid))
    worth = decision_for_pack(summary, 10**9, is_by_hand=False)[1]
    assert set(summary.by_slice) == {"val", "degraded.jpeg30"}
    low = summary.by_slice["degraded.jpeg30"]
    assert worth.endswith(f"; on other slices {low:.3f} (degraded.jpeg30).")


def test_members_of_studies_with_other_clusters_are_joined_on_what_they_share() -> None:
    def scored(cluster: str, scores: tuple[float, float, float]) -> pd.DataFrame:
        names = ["a", "b", cluster]
        slices = ["val", "val", "clusters.1"]
        return pd.DataFrame({"slice": slices, "name": names, "target": [0, 1, 1], "score": scores})

    tables = [scored("a", (0.25, 0.5, 0.5)), scored("b", (0.75, 0.5, 0.5))]
    joint = MeanOfProbabilities(weights=(0.5, 0.5))
    found = join_tables(joint, tables, ["Trial 0 of one", "Trial 0 of two"])
    assert found[["slice", "name", "score"]].to_numpy().tolist() == [
        ["val", "a", 0.5],
        ["val", "b", 0.5],
    ]
    both = [table.assign(slice="test") for table in tables]
    with pytest.raises(StudyError, match="scored on other files"):
        join_tables(joint, both, ["Trial 0 of one", "Trial 0 of two"])
    none = [table[:0] for table in tables]
    assert join_tables(joint, none, ["The refit of trial 0", "The refit of trial 1"]).empty
    with pytest.raises(StudyError, match="scored on other files"):
        join_tables(joint, [tables[0], none[1]], ["Trial 0 of one", "Trial 0 of two"])


def test_a_gain_within_its_rounding_is_none() -> None:
    estimate = PackEstimate(
        expected=0.8,
        low=0.7,
        high=0.9,
        gain=-0.0004,
        gain_low=-0.05,
        gain_high=0.05,
        rounding=0.0005,
        num_trials=9,
        method="made",
    )
    said = "It is expected to be as good as the best single trial (gain -0.050 to +0.050, 95%)."
    assert estimate.gain_sentence == said
    worse = estimate.model_copy(update={"gain": -0.004})
    assert "worse than the best single trial by 0.004" in worse.gain_sentence


def test_a_study_that_is_named_twice_counts_its_trials_once(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path, rulebook={"single_model": "module"})
    add_trials(made, 2)
    (tmp_path / "elsewhere").mkdir()
    again = StudyFolder(tmp_path / "elsewhere" / ".." / "made")
    assert propose_pack(made.folder, [made.folder, again]).num_trials == 2


def constrained(root: Path, name: str, **bounds: dict[str, float]) -> MadeStudy:
    made = MadeStudy(root, name, constraints=bounds)
    add_trials(made, 4)
    return made


def test_a_pack_that_breaks_a_constraint_on_a_metric_as_a_whole_is_promoted_by_hand_alone(
    tmp_path: Path,
) -> None:
    plain = constrained(tmp_path, "plain")
    free = propose_pack(plain.folder)
    files, _ = make_pack(plain.folder, free)
    result = files.read_result()
    assert result is not None and free.is_promoted
    best = [row.metrics["log_loss"] for row in plain.rows]
    # All trials keep it, and their pack, which is surer of itself, does not.
    least = (result.metrics["log_loss"] + min(best)) / 2
    assert result.metrics["log_loss"] < least
    made = constrained(tmp_path, "made", log_loss={"at_least": least})
    assert not any(row.breaks for row in made.rows)
    proposal = propose_pack(made.folder)
    said = f"log_loss is {result.metrics['log_loss']:.6g}, not at least {least:.6g}"
    assert proposal.breaks == (said,) and not proposal.is_promoted
    end = f" The pack breaks a constraint: {said}. So it is promoted by hand only."
    assert proposal.sentence.startswith("The pack of 4 models is expected to be better than ")
    assert proposal.sentence.endswith(end)

    files, record = make_pack(made.folder, proposal)
    summary = summarise_pack(made.folder, files)
    assert f"The pack breaks a constraint: {said}." in describe_pack(summary)
    told = decision_for_pack(summary, 200_000_000, is_by_hand=True)
    assert told[-1].endswith(f" The pack breaks a constraint: {said}.")
    champion = promote_pack(
        made.folder,
        ListedModels(),
        record.uid,
        run_id="run",
        why="It was named by hand.",
        is_by_hand=True,
    )
    assert champion.why == f"It was named by hand. It breaks a constraint: {said}."


def test_a_pack_is_chosen_within_a_constraint_on_what_a_file_takes(tmp_path: Path) -> None:
    made = constrained(tmp_path, "made", ms_per_file={"at_most": 9.0})
    for row in made.rows:
        files = made.folder.trial(row.recipe)
        result = files.read_result()
        assert result is not None
        files.write_result(result.model_copy(update={"ms_per_file": 4.0}))
    proposal = propose_pack(made.folder)
    assert len(proposal.ingredients) == 2  # of four, which would take 16 ms
    assert proposal.is_promoted and not proposal.breaks


def test_a_pack_whose_members_were_trained_again_since_is_not_told_by_their_new_scores(
    tmp_path: Path,
) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 3)
    files, _ = make_pack(made.folder, propose_pack(made.folder))
    summarise_pack(made.folder, files)
    trial = made.folder.trial(made.rows[0].recipe)
    scores = trial.read_scores()
    trial.write_scores(scores.assign(score=1 - scores["score"]))
    with pytest.raises(StudyError, match="have other scores than when it was made"):
        summarise_pack(made.folder, files)
    assert kept_pack(made.folder, None) is None


def test_a_member_that_was_trained_again_to_the_same_value_is_another(tmp_path: Path) -> None:
    made = MadeStudy(tmp_path)
    add_trials(made, 2)
    files, record = make_pack(made.folder, propose_pack(made.folder))
    trial = made.folder.trial(record.members[0].recipe)
    result = trial.read_result()
    assert result is not None and result.weights_sha256 == ""
    for noted in (hash_file(trial.weights), "f" * 64):
        summarise_pack(made.folder, files)
        trial.write_result(result.model_copy(update={"weights_sha256": noted}))
    with pytest.raises(StudyError, match="have other scores than when it was made"):
        summarise_pack(made.folder, files)


def test_the_member_that_counts_most_is_told_with_its_study_where_that_is_another(
    tmp_path: Path,
) -> None:
    first, other = MadeStudy(tmp_path, "first"), MadeStudy(tmp_path, "other")
    for made in (first, other):
        add_trials(made, 1)
    ingredients = [Ingredient(made.folder, made.rows[0]) for made in (first, other)]
    joint = MeanOfProbabilities(weights=(0.25, 0.75))
    record = record_of(ingredients, joint, first.objective, num_trials=2)
    record = record.model_copy(update={"best_single": 0})
    end = "counts most in it; the best single trial was trial 0."
    assert against_in_words(record, "first") == f"Trial 0 of other {end}"
    own, of_other = record.members
    soup = of_other.model_copy(update={"soup": (0, 1)})
    record = record.model_copy(update={"members": (own, soup)})
    assert against_in_words(record, "first") == f"Soup {soup.recipe} of other {end}"


def test_a_trial_of_unknown_time_is_chosen_neither_alone_nor_as_what_a_pack_is_held_against(
    tmp_path: Path,
) -> None:
    made = constrained(tmp_path, "made", ms_per_file={"at_most": 9.0})
    best = rank(made.rows, made.objective)[0]
    for row in made.rows:
        files = made.folder.trial(row.recipe)
        result = files.read_result()
        assert result is not None
        time = None if row.number == best.number else 9.0
        files.write_result(result.model_copy(update={"ms_per_file": time}))
    *rest, last = rank(made.rows, made.objective)
    assert last.number == best.number
    said = "ms_per_file is not known, to be at most 9"
    assert last.breaks == (said,)
    assert f"is promoted by hand only: {said}." in as_table(made.rows, made.objective)
    assert choose_trial(made.rows, made.objective).number == rest[0].number
    proposal = propose_pack(made.folder)
    assert proposal.best.row.number == rest[0].number and len(proposal.ingredients) == 1
    assert choose_trial(made.rows, made.objective, best.number).breaks == (said,)


def test_the_best_single_trial_of_another_study_is_named_and_is_what_is_to_be_promoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.api.made_pack.pack_run", lambda *_: "run")
    first, other = MadeStudy(tmp_path, "first"), MadeStudy(tmp_path, "other")
    for number, (made, shift) in enumerate([(first, 0.4), (first, 0.5), (other, 2.5)]):
        recipe = made.add(*normal_scores(shift, seed=number + 1), run=f"run-{number}")
        save_weights(made, recipe, seed=number)
    workspace = Workspace(tmp_path)
    made_pack = pack_trials(first.folder, [other.folder], Limits(), workspace, soups=False)
    assert not made_pack.is_better and made_pack.next_study == "other"
    assert made_pack.decision.endswith(" That single trial is trial 0 of other.")
    own = pack_trials(first.folder, [], Limits(), workspace, soups=False)
    assert own.next_study == "first" and "That single trial" not in own.decision


def test_a_finalists_parameters_are_counted_as_those_of_the_pack_it_is_held_to(
    tmp_path: Path,
) -> None:
    made = Round(tmp_path)
    limits = {"params": {"at_most": 1e8}}
    made.study = MadeStudy(tmp_path, "by", rulebook={"counter": "thop"}, constraints=limits)
    made.folder = made.study.folder
    add_trials(made.study, 3)
    made.plan(0, num_seeds=1)
    made.repeat(0, 1, 0.3)
    found = propose_pack(made.folder)
    assert found.finalist and found.finalist.params == 1_234_567
    assert found.correction.pack_params == 3 * 1_234_567
