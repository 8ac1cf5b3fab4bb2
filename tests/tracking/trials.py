"""A trial, as the tests of tracking start one."""

from workbench.tracking.runs import Tracking


def start(tracking: Tracking, parent: str, number: int = 0) -> str:
    return tracking.start_trial(
        parent, number=number, uid=f"uid{number}", name="lite0", recipe={"seed": number}, tags={}
    )
