"""Shards: any ranks read what others wrote, only what they need, or refuse."""

import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from llmnotes.parallel.checkpointing import (
    Checkpoints,
    Meeting,
    Part,
    flat,
    index_of,
    rows,
    whole,
)
from llmnotes.parallel.data_parallel import run
from tests.parallel.checkpointing import ranked

RANKS = 1, 2, 3, 4


@pytest.fixture(scope="module")
def saved(processes, tmp_path_factory):
    """{(ranks, cut): folder}, each written by that many ranks."""
    home, found = tmp_path_factory.mktemp("shards"), {}
    for ranks, cut in product(RANKS, ranked.CUTS):
        folder = str(home / f"{ranks}-{cut}")
        found[ranks, cut] = folder
    for ranks in RANKS:
        folders = [found[ranks, cut] for cut in ranked.CUTS]
        run(ranked.save_both, ranks, folders, processes=processes)
    return found


@pytest.mark.parametrize("ranks", RANKS)
def test_any_number_of_ranks_reads_what_any_other_saved(
    saved, processes, ranks
):
    folders = list(saved.values())
    for found in run(ranked.load_both, ranks, folders, processes=processes):
        assert len(found) == 16
        for facts, same, _ in found:
            assert facts == {"seed": 3} and same


def test_a_rank_writes_one_file_and_the_index_is_there_last(saved):
    for (ranks, _), folder in saved.items():
        (home,) = (p for p in sorted(Path(folder).iterdir()))
        names = sorted(p.name for p in home.iterdir())
        files = [f"rank-{r}.bin" for r in range(ranks)]
        assert names == ["index.json", *files]


def blocks_of(home, name, start, stop, width):
    """The blocks of files around some numbers, found one by one."""
    index = index_of((home / "index.json").read_bytes())
    found = set()
    for number in range(start, stop):
        for entry in index.entries:
            if entry.name == name and entry.start <= number < entry.stop:
                at = (number - entry.start) * width
                first = at // index.block * index.block
                ends = (entry.stop - entry.start) * width
                count = min(index.block, ends - first)
                found.add((entry.file, entry.offset + first, count))
    return found


@pytest.mark.parametrize("ranks", [1, 3, 4])
def test_a_rank_reads_the_blocks_of_its_numbers_and_no_others(
    saved, processes, ranks
):
    folder = saved[2, "flat"]
    home = Path(folder) / "step-000006"
    told = run(ranked.load_all, ranks, [folder], "rows", processes=processes)
    for rank, [(_, _, read)] in enumerate(told):
        expected = set()
        for p in rows(ranked.tensors(), rank, ranks):
            width = p.values.element_size()
            expected |= blocks_of(home, p.name, p.start, p.stop, width)
        (_, *blocks) = read  # the index first
        assert set(blocks) == expected and len(blocks) == len(expected)


def test_from_two_ranks_to_four_each_reads_a_quarter(processes, tmp_path):
    run(ranked.save_row, 2, tmp_path, 256, processes=processes)
    read = run(ranked.read_a_quarter, 4, tmp_path, processes=processes)
    assert read == [4096] * 4  # of 4,096 numbers of 4 bytes
    read = run(ranked.read_a_quarter, 3, tmp_path, processes=processes)
    assert all(16384 / 3 <= b <= 16384 / 3 + 2 * 256 for b in read)


def test_numpy_and_json_read_the_same_numbers(saved):
    for folder in saved.values():
        home = Path(folder) / "step-000006"
        index = json.loads((home / "index.json").read_text())["index"]
        for name, right in ranked.tensors().items():
            what = index["tensors"][name]
            kind = what["dtype"].replace("bfloat16", "int16")
            found = np.zeros(right.numel(), kind)
            for e in index["entries"]:
                if e["name"] == name:
                    found[e["start"] : e["stop"]] = np.fromfile(
                        home / e["file"], kind, e["stop"] - e["start"],
                        offset=e["offset"],
                    )  # fmt: skip
            if right.dtype == torch.bfloat16:
                right = right.view(torch.int16)
            assert what["shape"] == list(right.shape)
            assert np.array_equal(found, right.numpy().reshape(-1))


def test_a_part_of_each_line_is_a_column(processes, tmp_path):
    found = run(ranked.columns, 2, tmp_path, processes=processes)
    assert found == [torch.arange(20.0).view(4, 5).tolist()] * 2


@pytest.mark.parametrize("ranks", RANKS)
def test_parts_cover_each_number_once_in_order(ranks):
    x = ranked.tensors()
    for cut in (flat, rows):
        held = [cut(x, r, ranks) for r in range(ranks)]
        for name, tensor in x.items():
            mine = [p for parts in held for p in parts if p.name == name]
            joined = torch.cat([p.values for p in mine])
            assert torch.equal(joined, tensor.view(-1))
    sizes = [sum(len(p.values) for p in flat(x, r, ranks))
             for r in range(ranks)]  # fmt: skip
    assert max(sizes) - min(sizes) <= 1


def test_by_hand_seven_numbers_on_three_ranks():
    x = {"a": torch.arange(4.0), "b": torch.arange(3.0)}
    held = [
        [(p.name, p.start, p.stop) for p in flat(x, r, 3)] for r in range(3)
    ]
    # 7·1/3 = 2, 7·2/3 = 4: two numbers, two, and three
    assert held == [[("a", 0, 2)], [("a", 2, 4)], [("b", 0, 3)]]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_rows_are_cut_as_fully_shard_cuts(processes, ranks):
    assert all(run(ranked.fsdp_cuts_like_rows, ranks, processes=processes))


REFUSED = {
    "gap": r"ValueError: w: no rank holds its numbers 7 to 15, expected all",
    "twice": r"ValueError: w: ranks 0 and 1 both hold numbers from 0 on, .*"
    "`flat`",
    "shapes": r"ValueError: w: rank 1 holds a part of \[5, 4\] float32, "
    r"expected \[5, 3\] float32",
    "types": r"ValueError: w: rank 1 holds a part of \[5, 3\] float64",
    "facts": r"ValueError: facts: read: got 1 on rank 1, expected 0, .*"
    "derive it from seed, step and rank",
    "json": r"ValueError: rank 0: facts: got what JSON cannot hold \(Object "
    "of type set",
    "keys": r"ValueError: rank 0: facts: got what JSON cannot hold \(the key "
    "2 would come back as a word",
    "step": r"ValueError: rank 0: step: got -1, expected at least 0",
    "earlier": r"ValueError: rank 0: step: got 0, expected none before 1, "
    "which .* holds",
    "missing": r"ValueError: .*step-000001: got another model's state: v is "
    r"nothing, expected \(7,\) float64",
    "extra": r"ValueError: .*: w is \(5, 3\) float32, expected nothing",
    "shape": r"ValueError: .*: w is \(5, 3\) float32, expected \(5, 4\) float",
    "dtype": r"ValueError: .*: w is \(5, 3\) float32, expected \(5, 3\) "
    "float64",
    "no step": r"ValueError: rank 0: .*index.json: damaged: .*No such file",
    "name": r"ValueError: rank 0: names: got 'q', expected one of w, which",
    "none": r"ValueError: .*none: got no checkpoint, expected one",
}


@pytest.fixture(scope="module")
def refused(processes, tmp_path_factory):
    return run(
        ranked.refusals, 2, tmp_path_factory.mktemp("r"), processes=processes
    )


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_by_name_on_all_ranks(refused, name):
    for told in refused:
        assert re.match(REFUSED[name], told[name]), told[name]
    assert refused[0][name] == refused[1][name]


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="rank: got 3, expected 0 to 2"):
        flat({}, 3, 3)
    x = {"w": torch.zeros(3, 4).T}
    with pytest.raises(ValueError, match="w: got strides .1, 4. for shape"):
        whole(x)
    for bad in ({"kept": 0}, {"block": 8}, {"block": 24}):
        with pytest.raises(ValueError, match="kept, block: got"):
            Checkpoints(tmp_path, **bad)


def test_a_step_that_is_there_stays(tmp_path):
    where = Checkpoints(tmp_path)
    for value in (1.0, 2.0):
        where.save(3, whole({"w": torch.full((4,), value)}))
    assert where.tensors()[0]["w"].tolist() == [1] * 4


def test_words_left_by_ranks_do_not_pile_up():
    meeting = Meeting("many")
    for number in range(20):
        assert meeting.exchange("count", number) == [number]
    assert meeting.store.num_keys() <= 2


def test_dcp_on_other_ranks_finds_the_same(processes, tmp_path):
    run(ranked.with_dcp, 2, tmp_path, processes=processes)
    for ranks in (1, 3):
        found = run(ranked.with_dcp, ranks, tmp_path, processes=processes)
        assert found == [True] * ranks


def test_a_part_is_a_view(tmp_path):
    x = {"w": torch.zeros(4)}
    where = Checkpoints(tmp_path)
    where.save(1, whole({"w": torch.arange(4.0)}))
    where.load(whole(x))
    assert x["w"].tolist() == [0, 1, 2, 3]
    assert isinstance(whole(x)[0], Part)
