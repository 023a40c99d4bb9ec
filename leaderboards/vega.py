"""Vega-Lite specifications as plain values: what every chart of ours is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Spec: TypeAlias = dict[str, Any]
"""A specification, or a part of one, as https://vega.github.io/vega-lite/docs/spec.html states it."""

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"


def number(field: str, **more: Any) -> Spec:
    """A channel that shows a number."""
    return {"field": field, "type": "quantitative", **more}


def name(field: str, **more: Any) -> Spec:
    """A channel that shows a name."""
    return {"field": field, "type": "nominal", **more}


def mark(kind: str, channels: Spec, values: Sequence[Spec] | None = None, **look: Any) -> Spec:
    """Marks of one kind, one for each of some rows; without ``values`` of those of the chart that it is a layer of."""
    return _data(values) | {"mark": {"type": kind, **look}, "encoding": channels}


def layers(parts: Sequence[Spec], width: float, height: float, values: Sequence[Spec] | None = None) -> Spec:
    """Marks above each other."""
    return _data(values) | {"layer": list(parts), "width": width, "height": height}


def rows(charts: Sequence[Sequence[Spec]], spacing: int) -> Spec:
    """Charts in rows."""
    return {"vconcat": [{"hconcat": list(row), "spacing": spacing} for row in charts], "spacing": spacing}


def whole(spec: Spec, config: Spec) -> Spec:
    """A specification that stands alone, with the looks of its parts."""
    return {"$schema": _SCHEMA, "config": config, **spec}


def plain(drawing: Any) -> Spec:
    """A chart as a specification: it may be an Altair chart of a plugin.

    Altair would check each part of it against the schema, which takes ten times as long as making it.
    """
    if isinstance(drawing, dict):
        return drawing
    from altair import data_transformers
    from altair.utils.schemapi import debug_mode

    with debug_mode(False), data_transformers.enable(consolidate_datasets=False):
        spec: Spec = drawing.to_dict(validate=False)
    return {key: value for key, value in spec.items() if key not in ("$schema", "config")}


def _data(values: Sequence[Spec] | None) -> Spec:
    return {} if values is None else {"data": {"values": list(values)}}
