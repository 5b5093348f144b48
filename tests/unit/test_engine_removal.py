"""What rmi takes away: Docker's rules, on records alone."""

from __future__ import annotations

import pytest
from engine_records import a_container, an_image

from minirund.engine.lifecycle import Status
from minirund.engine.removal import Plan, by_id, by_name
from minirund.errors import Conflict

A1, A2, B1 = "docker.io/library/a:1", "docker.io/library/a:2", "docker.io/library/b:1"
DIGEST_A, DIGEST_B = "docker.io/library/a@sha256:" + "1" * 64, "docker.io/library/b@sha256:" + "2" * 64
STOPPED = (a_container(1, status=Status.EXITED),)
RUNNING = (a_container(2, status=Status.RUNNING),)


@pytest.mark.parametrize(
    ("tags", "digests", "name", "plan"),
    [
        ((A1,), (), A1, Plan((A1,), True)),
        ((A1, A2), (), A1, Plan((A1,), False)),
        ((A1, B1), (), A1, Plan((A1,), False)),
        ((A1,), (DIGEST_A,), A1, Plan((A1, DIGEST_A), True)),
        ((A1, A2), (DIGEST_A,), A1, Plan((A1,), False)),
        ((A1, B1), (DIGEST_A, DIGEST_B), A1, Plan((A1, DIGEST_A), False)),
        ((), (DIGEST_A,), DIGEST_A, Plan((DIGEST_A,), True)),
        ((A1,), (DIGEST_A,), DIGEST_A, Plan((DIGEST_A,), False)),
    ],
)
def test_by_name(tags: tuple[str, ...], digests: tuple[str, ...], name: str, plan: Plan) -> None:
    assert by_name(an_image(tags=tags, digests=digests), name, name, (), False) == plan


@pytest.mark.parametrize("users", [STOPPED, RUNNING])
def test_the_last_name_of_an_image_in_use_goes_only_if_forced(users: tuple[object, ...]) -> None:
    image = an_image(tags=(A1,))
    with pytest.raises(
        Conflict, match=r'unable to remove repository reference "a:1" \(must force\) - container [12]{12}'
    ):
        by_name(image, A1, "a:1", users, False)  # type: ignore[arg-type]
    assert by_name(image, A1, "a:1", users, True) == Plan((A1,), True)  # type: ignore[arg-type]
    assert by_name(an_image(tags=(A1, A2)), A1, "a:1", users, False) == Plan((A1,), False)  # type: ignore[arg-type]


def test_by_id() -> None:
    assert by_id(an_image(), (), False) == Plan((), True)
    assert by_id(an_image(tags=(A1,), digests=(DIGEST_A,)), (), False) == Plan((A1, DIGEST_A), True)


@pytest.mark.parametrize(
    ("tags", "users", "force", "message"),
    [
        ((A1, B1), (), False, r"must be forced\) - image is referenced in multiple repositories"),
        ((A1, A2), (), False, r"must be forced\) - image is referenced in multiple repositories"),
        ((A1,), STOPPED, False, r"must be forced\) - image is being used by stopped container 1{12}"),
        ((A1,), RUNNING, False, r"cannot be forced\) - image is being used by running container 2{12}"),
        ((A1,), RUNNING, True, r"cannot be forced\) - image is being used by running container 2{12}"),
    ],
)
def test_by_id_refused(tags: tuple[str, ...], users: tuple[object, ...], force: bool, message: str) -> None:
    with pytest.raises(Conflict, match=message):
        by_id(an_image(tags=tags), users, force)  # type: ignore[arg-type]


def test_by_id_forced() -> None:
    assert by_id(an_image(tags=(A1, B1)), STOPPED, True) == Plan((A1, B1), True)
