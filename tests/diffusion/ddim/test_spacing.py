import pytest
from diffusers import DDIMScheduler

from llmnotes.diffusion.ddim import leading, linspace, trailing, visited


@pytest.mark.parametrize("spacing", [leading, linspace, trailing])
@pytest.mark.parametrize("last", [1000, 77])
def test_steps_are_those_of_diffusers_which_counts_from_0(spacing, last):
    theirs = DDIMScheduler(last, timestep_spacing=spacing.__name__)
    for count in [2, 3, 7, 10, 31, 35, 50, last]:
        theirs.set_timesteps(count)
        ours = [t - 1 for t in spacing(last, count)]
        assert ours == theirs.timesteps.tolist(), count


def test_diffusers_takes_a_step_too_many_where_rounding_falls_so():
    # numpy.arange(1000, 0, -1000 / 61) has 62 numbers, the last near 0
    theirs = DDIMScheduler(1000, timestep_spacing="trailing")
    theirs.set_timesteps(61)
    assert len(theirs.timesteps) == 62 and theirs.timesteps[-1] == -1
    assert len(trailing(1000, 61)) == 61 and min(trailing(1000, 61)) == 16


def test_leading_steps_never_begin_at_the_noisiest():
    assert leading(1000, 50)[0] == 981
    assert leading(1000, 10)[0] == 901
    assert trailing(1000, 10)[0] == linspace(1000, 10)[0] == 1000


def test_ten_steps_by_hand():
    assert trailing(10, 4) == [10, 8, 5, 2]  # 7.5 and 2.5 go to even numbers
    assert leading(10, 4) == [7, 5, 3, 1]
    assert linspace(10, 4) == [10, 7, 4, 1]


def test_all_of_a_schedule_s_steps_can_be_visited():
    whole = [*range(13, 0, -1)]
    for spacing in (leading, linspace, trailing):
        assert spacing(13, 13) == whole
    assert visited(13, 13) == visited(13, whole) == [*whole, 0]


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        (0, "steps: got 0, expected 1 to 20"),
        (-3, "steps: got -3, expected 1 to 20"),
        (21, "steps: got 21, expected 1 to 20"),
        ([], "steps: got none, expected at least one"),
        ([21, 3], "steps: got 21 after 21, expected whole numbers that go "
         "down from at most 20 to at least 1"),
        ([20, 7, 7], "steps: got 7 after 7, expected"),
        ([1, 5, 20], "steps: got 5 after 1, expected"),
        ([20, 5, 0], "steps: got 0 after 5, expected"),
    ],
)  # fmt: skip
def test_steps_that_cannot_be_visited_are_refused(steps, says):
    with pytest.raises(ValueError) as error:
        visited(20, steps)
    assert says in str(error.value)


def test_linspace_of_one_step_would_begin_at_the_picture():
    with pytest.raises(ValueError, match="steps: got 1, expected 2 to 1000"):
        linspace(1000, 1)
    theirs = DDIMScheduler(timestep_spacing="linspace")
    theirs.set_timesteps(1)
    assert theirs.timesteps.tolist() == [0]
