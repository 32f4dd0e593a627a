import os

import pytest
import torch

from pyg_graphadapter.parallel import map_parallel, num_workers


def add_and_tell(shared, piece):
    if piece is None:
        raise ValueError("a bad piece")
    x = torch.ones(64, 64) @ torch.full((64, 64), float(piece))
    return shared + float(x[0, 0]) / 64, os.getpid(), torch.get_num_threads()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_piece_is_done_once(workers):
    threads = torch.get_num_threads()
    found = dict(map_parallel(add_and_tell, [1, 2, 3], 10, workers))
    assert [found[i][0] for i in range(3)] == [11, 12, 13]
    assert (os.getpid() in {pid for _, pid, _ in found.values()}) == (workers == 1)
    assert {number for _, _, number in found.values()} == {threads if workers == 1 else 1}
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_are_raised_here(workers):
    with pytest.raises(ValueError, match="a bad piece"):
        list(map_parallel(add_and_tell, [1, None], 0, workers))


def test_number_of_workers():
    assert num_workers(0) == num_workers(1) == 1
    assert 1 <= num_workers(1000) <= (os.cpu_count() or 1)
