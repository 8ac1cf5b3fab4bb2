"""What a search says, of one thing as of several."""

from workbench.searching.messages import adopted, written_anew


def test_one_trial_is_said_as_one() -> None:
    told = "The last search was cut off: 1 trial of it had ended, 2 trials"
    assert adopted(1, 2) == f"{told} will run again, with a new number."
    assert written_anew(1) == "MLflow lacked 1 ended trial: written anew from the study's folder."
    assert "3 ended trials" in written_anew(3)
