"""What every asset of the chain is declared with: partitions, group, owners and code version; no asset."""

from collections.abc import Callable
from typing import Any, cast

import dagster as dg

from assets.partitions import daily_partitions
from ml.code_version import code_version
from ml.data.dataset import DatasetSpec

#: Who is asked about a red asset; a team changes it here.
OWNERS = ["team:ranking"]


def declaration(spec: DatasetSpec, *, group: str) -> dict[str, Any]:
    """Keyword arguments that all assets of a dataset share. Assets made by other code are shown as out of date."""
    return {
        "partitions_def": daily_partitions(spec),
        "group_name": group,
        "owners": OWNERS,
        "code_version": code_version()[:12],
    }


def chain_asset(
    spec: DatasetSpec, *, group: str, **arguments: Any
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """`dagster.asset` with what all assets share; `arguments` are the decorator's own."""
    decorator = dg.asset(**declaration(spec, group=group), **arguments)
    return cast("Callable[[Callable[..., Any]], dg.AssetsDefinition]", decorator)
