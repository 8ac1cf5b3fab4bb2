"""The records in a bundle: what one says otherwise than another is told, of each kind of model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.submission.made_study import TrainedStudy
from workbench.errors import BundleError
from workbench.files import hash_file, read_json, write_json
from workbench.parts.joint import MeanOfProbabilities
from workbench.parts.pack_spec import PackSpec
from workbench.study.packs import PackMember, PackRecord
from workbench.study.refits import RefitRecord, RefittedModel
from workbench.study.soups import Ingredient, Soup, soup_uid
from workbench.submission.agreement import disagreements
from workbench.submission.contents import FileRecord, read_manifest_of_bundle
from workbench.submission.places import MANIFEST, MODEL, WEIGHTS
from workbench.submission.training_record import RECORD, TrainedModel, read_training
from workbench.submission.verify_bundle import verify_bundle
from workbench.trial.recipe import Refit

CHAMPION = "champion.json"


def rewrite(bundle: Path, name: str, changes: Mapping[str, Any]) -> None:
    """Write other values of some keys, `a.0.b` for one further in, with the right hash."""
    tree = read_json(bundle / name) if (bundle / name).exists() else {}
    for key, value in changes.items():
        *parents, last = (int(step) if step.isdigit() else step for step in key.split("."))
        place = tree
        for step in parents:
            place = place[step]
        place[last] = value
    write_json(bundle / name, tree)
    if name != MANIFEST:
        enter(bundle, name)


def enter(bundle: Path, name: str) -> None:
    path = bundle / name
    record = FileRecord(sha256=hash_file(path), size_bytes=path.stat().st_size)
    manifest = read_json(bundle / MANIFEST)
    manifest["files"][name] = record.model_dump()
    write_json(bundle / MANIFEST, manifest)


def remove(bundle: Path, name: str) -> None:
    manifest = read_json(bundle / MANIFEST)
    del manifest["files"][name]
    write_json(bundle / MANIFEST, manifest)


def faults(bundle: Path) -> list[str]:
    return disagreements(bundle, read_manifest_of_bundle(bundle))[1]


def named(bundle: Path, uid: str, **of_manifest: Any) -> None:
    """Let manifest, record and weights be of the model `uid`."""
    save_file({"x": np.zeros(1)}, bundle / WEIGHTS, metadata={"recipe": uid})
    rewrite(bundle, MANIFEST, {"recipe": uid, **of_manifest})
    rewrite(bundle, RECORD, {"recipe": uid})


def two_trainings(bundle: Path) -> tuple[TrainedModel, TrainedModel]:
    """Let the record have a second training, trial 8; return both."""
    first = read_training(bundle).models[0]
    recipe = first.recipe.replaced(seed=1)
    told = {"recipe": recipe, "uid": recipe.uid, "title": "trial 8", "value": 0.25}
    second = first.model_copy(update=told)
    rewrite(bundle, RECORD, {"models": [one.model_dump(mode="json") for one in (first, second)]})
    return first, second


def make_soup(bundle: Path) -> str:
    both = two_trainings(bundle)
    averaged = tuple(
        Ingredient(number=int(one.title.split()[1]), recipe=one.uid, objective=one.value or 0.0)
        for one in both
    )
    uid = soup_uid([one.uid for one in both])
    soup = Soup(recipe=uid, chosen="all", ingredients=averaged)
    named(bundle, uid, is_soup=True, trial=None)
    rewrite(bundle, RECORD, {"soups": [soup.model_dump()], "members": [["made", uid]]})
    told = {"number": None, "recipe": uid, "members": ["7", "8"], "soup": "all", "value": 0.5}
    rewrite(bundle, CHAMPION, told)
    return uid


def make_pack(bundle: Path) -> str:
    both = two_trainings(bundle)
    members = tuple(
        PackMember(
            study="made",
            number=int(one.title.split()[1]),
            recipe=one.uid,
            trained=one.recipe,
            weights_sha256="",
            objective=one.value or 0.0,
        )
        for one in both
    )
    joint = MeanOfProbabilities(weights=(0.5, 0.5))
    spec = PackSpec(members=tuple(one.recipe.model for one in both), joint=joint)
    objective = both[0].recipe.objective
    pack = PackRecord(spec=spec, members=members, data="", objective=objective, num_trials=2)
    (bundle / "pack.json").write_text(pack.model_dump_json())
    enter(bundle, "pack.json")
    remove(bundle, "recipe.json")
    (bundle / MODEL).write_text(spec.model_dump_json())
    named(bundle, pack.uid, trial=None)
    rewrite(bundle, RECORD, {"pack": spec.model_dump(mode="json")})
    told = {"number": None, "recipe": pack.uid, "members": ["7", "8"], "value": 0.5}
    rewrite(bundle, CHAMPION, told)
    return pack.uid


def make_refit(bundle: Path) -> str:
    champion = read_json(bundle / CHAMPION)
    (first,) = read_training(bundle).models
    history = (champion["value"], champion["value"] - 0.25)
    again = first.recipe.replaced(refit=Refit(of=first.uid, history=history))
    model = RefittedModel(
        study="made",
        number=7,
        of=first.uid,
        recipe=again.uid,
        num_before=4,
        num_files=8,
        objective=history[0],
        at_last_epoch=history[1],
    )
    refit = RefitRecord(
        recipe=again.uid,
        of=first.uid,
        title="trial 7",
        models=(model,),
        objective=first.recipe.objective,
        value=champion["value"],
        who="",
        when="",
    )
    (bundle / "refit.json").write_text(refit.model_dump_json())
    enter(bundle, "refit.json")
    (bundle / "recipe.json").write_text(again.model_dump_json())
    told = {"title": "refit of trial 7", "uid": again.uid, "value": None, "recipe": again}
    trained = first.model_copy(update=told).model_dump(mode="json")
    rewrite(bundle, RECORD, {"models": [trained]})
    named(bundle, again.uid)
    return again.uid


MAKE = {"trial": lambda bundle: "", "soup": make_soup, "pack": make_pack, "refit": make_refit}


@pytest.mark.parametrize("kind", MAKE)
def test_the_records_of_each_kind_of_model_agree(own_bundle: Path, kind: str) -> None:
    MAKE[kind](own_bundle)
    assert faults(own_bundle) == []


@pytest.mark.parametrize(
    ("kind", "name", "changes", "said"),
    [
        ("trial", CHAMPION, {"number": 3}, "champion.json has 3 as the number, and manifest.json"),
        ("trial", CHAMPION, {"value": 0.99}, "has 0.99 as the value of trial 7, and training/"),
        ("trial", CHAMPION, {"objective.metric": "f1"}, "as the objective, and training/"),
        ("trial", CHAMPION, {"recipe": "0" * 12}, "as the recipe, and manifest.json has"),
        ("trial", CHAMPION, {"study": "other"}, "has 'other' as the study, and manifest.json"),
        ("trial", RECORD, {"models.0.title": "trial 3"}, "and training/training.json has 'trial 3"),
        ("soup", CHAMPION, {"members": ["7", "9"]}, "has ('7', '9') as the members, and training/"),
        ("soup", CHAMPION, {"soup": "greedily"}, "has 'greedily' as the choice of them"),
        ("soup", RECORD, {"models.1.value": 0.9}, "has 0.25 as the value of trial 8, and training"),
        ("soup", RECORD, {"models.1.title": "trial 9"}, "and training/training.json has 'trial 9'"),
        ("soup", RECORD, {"soups.0.ingredients.1.weights_sha256": "f" * 64}, "weights of trial 8,"),
        ("soup", "recipe.json", {"seed": 1}, "recipe.json not of the model that training/training"),
        ("pack", CHAMPION, {"members": ["7", "9"]}, "as the members, and pack.json has ('7', '8')"),
        ("pack", "pack.json", {"members.1.objective": 0.9}, "pack.json has 0.9 as the value of"),
        ("pack", "pack.json", {"members.1.number": 9}, "pack.json has 'trial 9' as the title of"),
        ("pack", "pack.json", {"members.1.weights_sha256": "f" * 64}, "as the weights of trial 8,"),
        ("pack", "pack.json", {"spec.joint.weights": [0.75, 0.25]}, "pack.json not of the model"),
        ("pack", MODEL, {"joint.weights": [0.75, 0.25]}, "model.json not of the model that"),
        ("refit", CHAMPION, {"value": 0.99}, "champion.json has 0.99 as the value, and training/"),
        ("refit", CHAMPION, {"number": 3}, "has ('7',) as the trials, and champion.json has"),
        ("refit", "refit.json", {"low": 0.9}, "refit.json has 0.9 as the low, and champion.json"),
        ("refit", "refit.json", {"models.0.at_last_epoch": 0.9}, "has 0.9 as the last epoch of"),
        ("refit", "refit.json", {"models.0.of": "0" * 12}, "'000000000000' as the origin of"),
        ("refit", RECORD, {"models.0.recipe.refit": None}, "and training/training.json has None"),
    ],
)  # fmt: skip
def test_a_record_that_was_rewritten_is_told(
    own_bundle: Path, kind: str, name: str, changes: dict[str, Any], said: str
) -> None:
    MAKE[kind](own_bundle)
    rewrite(own_bundle, name, changes)
    assert said in "; ".join(faults(own_bundle))


def test_weights_of_another_model_are_told(own_bundle: Path) -> None:
    save_file({"x": np.zeros(1)}, own_bundle / WEIGHTS, metadata={"recipe": "0" * 12})
    assert "model.safetensors has '000000000000' as the recipe" in "; ".join(faults(own_bundle))


def test_a_bundle_without_a_record_of_its_training_still_agrees_with_itself(
    own_bundle: Path,
) -> None:
    remove(own_bundle, RECORD)
    assert faults(own_bundle) == []
    rewrite(own_bundle, MODEL, {"dropout": 0.5})
    assert faults(own_bundle) == ["model.json not of the model that recipe.json tells"]
    remove(own_bundle, CHAMPION)
    with pytest.raises(BundleError, match=r"has no champion\.json\. Export the bundle again"):
        faults(own_bundle)


def test_no_plugin_runs_and_its_text_is_compared(own_bundle: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    plugin = {"file": "mine.py", "source": f"open({str(mark)!r}, 'w')"}
    rewrite(own_bundle, RECORD, {"models.0.recipe.plugins": [plugin]})
    rewrite(own_bundle, "recipe.json", {"plugins": [plugin]})
    assert faults(own_bundle) == []
    rewrite(own_bundle, "recipe.json", {"plugins": [{**plugin, "source": "1"}]})
    assert faults(own_bundle) == ["recipe.json not of the model that training/training.json trains"]
    rewrite(own_bundle, "recipe.json", {"plugins": [plugin], "objective": 3})
    with pytest.raises(BundleError, match=r"recipe\.json cannot be read"):
        faults(own_bundle)
    assert not mark.exists()


def test_a_recipe_that_is_nested_too_deep_is_another(own_bundle: Path) -> None:
    deep: dict[str, Any] = {}
    for _ in range(600):
        deep = {"a": deep}
    changed = {"plugins": [{"file": "mine.py", "source": ""}], "x": deep}
    rewrite(own_bundle, RECORD, {f"models.0.recipe.{key}": value for key, value in changed.items()})
    rewrite(own_bundle, "recipe.json", changed)
    assert faults(own_bundle) == ["recipe.json not of the model that training/training.json trains"]


def test_verify_refuses_a_bundle_whose_records_disagree(
    own_bundle: Path, study: TrainedStudy
) -> None:
    rewrite(own_bundle, MANIFEST, {"versions.timm": "0.1"})  # so that it is not run
    report = verify_bundle(own_bundle, study.data, is_linked=True)
    assert {line.name: line.result for line in report.lines}["documents"] == "pass"
    rewrite(own_bundle, "recipe.json", {"training.num_epochs": 9})
    report = verify_bundle(own_bundle, study.data, is_linked=True)
    (line,) = [line for line in report.lines if line.name == "documents"]
    assert (line.result, line.said) == (
        "fail",
        "recipe.json not of the model that training/training.json trains. Ask the bundle's author "
        "which is right.",
    )


@pytest.mark.parametrize(("over", "agrees"), [(["val"], True), (["phone"], False)])
def test_a_champion_leaves_out_families_that_the_data_lack(
    own_bundle: Path, over: list[str], agrees: bool
) -> None:
    objective = read_json(own_bundle / CHAMPION)["objective"]
    both = {**objective, "over": ["val", "generators"]}
    rewrite(own_bundle, RECORD, {"models.0.recipe.objective": both})
    rewrite(own_bundle, CHAMPION, {"objective": {**objective, "over": over}})
    told = [fault for fault in faults(own_bundle) if "as the objective" in fault]
    assert (not told) == agrees
