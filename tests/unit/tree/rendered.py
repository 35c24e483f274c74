"""What the tests of the tree share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bootstrap.host.objects import Object
    from rehearsal.charts import PackagedChart

ROOT = Path(__file__).parents[3]
Programs = Callable[[str], Path]
CLUSTERS = ("infra", "apps", "lab")


@dataclass(frozen=True)
class Rendered:
    """A release as helm renders it with the values of the tree."""

    chart: PackagedChart
    objects: tuple[Object, ...]
