"""What is measured on every data set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyg_graphadapter.training.config import TrainConfig

if TYPE_CHECKING:
    from pyg_graphadapter.experiment.run import Run


@dataclass(frozen=True)
class Grid:
    """The grid that is measured on every data set.

    Args:
        methods (list of str): The methods.
        shots (list of int): Numbers of images per class.
        seeds (list of int): Seeds of draw and training.
        training (TrainConfig): How to train.
        settings (dict): For each method, the settings that differ from its defaults.
        selects (bool): Select the settings that are not given.
        protocol (str): :obj:`"honest"` or :obj:`"paper"`.
        preset (str, optional): A name in :obj:`~pyg_graphadapter.experiment.presets.PRESETS`.
        are_named (bool, optional): Whether the user named each method, and did not say ``all``.
            (default: :obj:`True`)
    """

    methods: list[str]
    shots: list[int]
    seeds: list[int]
    training: TrainConfig
    settings: Mapping[str, Mapping[str, Any]]
    selects: bool
    protocol: str
    preset: str | None
    are_named: bool = True

    def runs(self, dataset: str) -> "list[Run]":
        """The runs on a data set.

        Raises:
            ValueError: As :func:`~pyg_graphadapter.experiment.grid.grid_runs` does.
        """
        from pyg_graphadapter.experiment.grid import grid_runs  # loads torch

        return grid_runs(
            self.methods,
            self.shots,
            self.seeds,
            self.training,
            self.settings,
            selects=self.selects,
            protocol=self.protocol,
            preset=self.preset,
            dataset=dataset,
        )
