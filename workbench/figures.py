"""Plotly figures of data and results: data in, `Figure` out, nothing read or written.

Every figure is transparent and uses colours that can be told apart by colour-blind readers (Okabe & Ito 2008,
https://jfly.uni-koeln.de/color/) on a light and on a dark page. Text that comes from data is escaped, because
plotly reads its labels as HTML.
"""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from workbench.evaluation.selection import spread_over_classes

if TYPE_CHECKING:
    import pandas as pd

    from workbench.datasets import Dataset, Split

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
_INK = "#7a7a7a"  # readable on white and on near-black
_SHARES = ((0, "#f4f8fb"), (0.05, "#d3e5f2"), (0.3, "#82b8da"), (1, "#0072B2"))
_SHARES_ON_DARK = ((0, "#1d2329"), (0.05, "#23435a"), (0.3, "#2f7fb0"), (1, "#8fd0ff"))
_GRID = "rgba(128,128,128,0.22)"
_LABEL_LENGTH = 28  # characters of a class or run name that fit beside an axis
_TILE = 96  # pixels along the longer side of a sample image
_GAP = 14  # pixels between sample images
_COLUMNS = 5  # of sample images; as many fit a narrow page
_CAPTION_LENGTH = 17  # characters that fit under a sample image
_MOST_ANNOTATED_CLASSES = 12  # with numbers in the cells of a confusion matrix
_MOST_NAMED_CLASSES = 50


def build_template(ink: str = _INK, dark: bool = False) -> go.layout.Template:
    """Return the look of all figures; the default suits a page whose colour is not known.

    Args:
        ink: The colour of text.
        dark: Whether shares are coloured for a dark page.
    """
    axis = dict(
        gridcolor=_GRID,
        linecolor=_GRID,
        zeroline=False,
        automargin=True,
        title=dict(standoff=8, font_size=13),
    )
    return go.layout.Template(
        layout=dict(
            colorway=PALETTE,
            colorscale_sequential=_SHARES_ON_DARK if dark else _SHARES,
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(0,0,0,0)",
            font=dict(family="system-ui, sans-serif", size=13, color=ink),
            title=dict(x=0, xanchor="left", xref="container", pad_l=12, font_size=16),
            margin=dict(l=56, r=16, t=56, b=48),
            xaxis=axis,
            yaxis=axis,
            hoverlabel=dict(font_family="system-ui, sans-serif"),
        )
    )


def plot_learning_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> go.Figure:
    """Draw training and validation metrics by epoch, one panel a metric, several runs overlaid.

    Args:
        curves: The events of each run (`RunRecord.events()`), by the name to show.
    """
    histories = {name: _epoch_metrics(events) for name, events in curves.items()}
    panels = _metric_names(histories)
    if not panels:
        return _empty_figure("Learning curves", "No epoch has been logged yet")
    figure = _new_figure("Learning curves", hovermode="x unified")
    for column, metric in enumerate(panels):
        for number, (name, history) in enumerate(histories.items()):
            for trace in _curve_traces(history, metric, name, PALETTE[number % len(PALETTE)]):
                trace.update(xaxis=f"x{column + 1}", yaxis=f"y{column + 1}", showlegend=False)
                figure.add_trace(trace)
    _lay_out_panels(figure, panels)
    _add_curve_legend(figure, list(histories))
    return figure


def plot_samples(split: "Split", class_names: Sequence[str], count: int = 20) -> go.Figure:
    """Show images of a split with their class names, taking the classes in turn.

    Args:
        split: Images (n, height, width, channels) uint8 and labels (n,).
        count: How many images at most.
    """
    chosen = spread_over_classes(split.y, count)
    captions = [class_names[label] for label in split.y[chosen]]
    return plot_images(split.x[chosen], captions, title="Samples")


def plot_images(images: np.ndarray, captions: Sequence[str], title: str) -> go.Figure:
    """Show images in a grid, each over its caption.

    Args:
        images: (n, height, width, channels) uint8 with 1 or 3 channels.
        captions: n texts; a line break separates lines.
    """
    if not len(images):
        return _empty_figure(title, "There is no image to show")
    lines = max(caption.count("\n") + 1 for caption in captions)
    tiles = [_thumbnail(image) for image in images]
    sheet, corners = _arrange(tiles, room=12 + 14 * lines)
    height, width = sheet.shape[:2]  # in pixels, also of the figure: captions keep their place
    figure = _new_figure(title, width=width, height=height + 56, margin=dict(l=0, r=0, t=56, b=0))
    figure.add_trace(go.Image(source=_png(sheet), hoverinfo="skip"))
    figure.add_trace(
        go.Scatter(
            x=corners[:, 1] + (_TILE + _GAP) / 2,
            y=corners[:, 0] + len(tiles[0]) + 4,
            text=[_caption(caption, _CAPTION_LENGTH) for caption in captions],
            hovertext=[_caption(caption, 200) for caption in captions],
            hoverinfo="text",
            mode="text",
            textposition="bottom center",
            textfont_size=11,
        )
    )
    figure.update_xaxes(visible=False, range=[0, width])
    figure.update_yaxes(visible=False, range=[height, 0])
    return figure


def plot_mistakes(images: np.ndarray, mistakes: "pd.DataFrame", title: str = "Worst mistakes") -> go.Figure:
    """Show wrongly classified images with their true class, the predicted one and its probability.

    Args:
        images: The images of the test set (n, height, width, channels) uint8.
        mistakes: From `workbench.evaluation.find_worst_mistakes`.
    """
    if mistakes.empty:
        return _empty_figure(title, "There is no mistake: every test sample is classified correctly")
    captions = [
        f"true {row.true}\nsaid {row.predicted}\nwith {row.probability:.0%}" for row in mistakes.itertuples()
    ]
    return plot_images(images[mistakes["sample"]], captions, title)


def plot_class_balance(dataset: "Dataset") -> go.Figure:
    """Draw the number of samples of every class in each split."""
    figure = _new_figure("Samples per class", barmode="stack", height=_bars_height(dataset.class_names))
    names = [_escape(name) for name in dataset.class_names]
    for number, (name, split) in enumerate(dataset.splits().items()):
        counts = np.bincount(split.y, minlength=len(names)).astype(np.int32)
        figure.add_trace(go.Bar(y=names, x=counts, name=name, orientation="h", marker_color=PALETTE[number]))
    figure.update_xaxes(title="samples")
    figure.update_yaxes(_class_ticks(dataset.class_names), title="class", autorange="reversed")
    return _legend_on_top(figure)


def plot_text_lengths(dataset: "Dataset") -> go.Figure:
    """Draw the distribution of text lengths in words for each split."""
    figure = _new_figure("Text lengths", barmode="group", height=340)
    lengths = {name: _word_counts(split.x) for name, split in dataset.splits().items()}
    longest = max(counts.max(initial=0) for counts in lengths.values())
    width = math.ceil((longest + 1) / 40)
    edges = np.arange(0, longest + 1 + width, width)
    for number, (name, counts) in enumerate(lengths.items()):
        share = np.histogram(counts, edges)[0] / max(len(counts), 1)
        figure.add_trace(
            go.Scatter(
                x=edges[:-1],
                y=share.astype(np.float32),
                name=name,
                mode="lines",
                line=dict(shape="hv", color=PALETTE[number]),
                hovertemplate="from %{x} words: %{y:.1%}",
            )
        )
    figure.update_xaxes(title="words in a text")
    figure.update_yaxes(title="share of the split", tickformat=".0%", rangemode="tozero")
    return _legend_on_top(figure)


def plot_confusion_matrix(
    counts: np.ndarray, class_names: Sequence[str], title: str = "Confusion matrix"
) -> go.Figure:
    """Draw a confusion matrix: colour is the share of the true class, text and hover say the counts.

    Args:
        counts: (k, k) numbers of samples by true class (rows) and predicted class (columns).
    """
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    names = [_escape(name) for name in class_names]
    annotated = len(names) <= _MOST_ANNOTATED_CLASSES
    size = int(np.clip(40 * len(names), 240, 640))
    figure = _new_figure(title, height=size + 130)
    figure.add_trace(
        go.Heatmap(
            x=names,
            y=names,
            z=shares.astype(np.float32),
            text=counts.tolist(),
            autocolorscale=True,
            zmin=0,
            zmax=1,
            xgap=1 if annotated else 0,
            ygap=1 if annotated else 0,
            texttemplate="%{text}" if annotated else None,
            showscale=not annotated,
            colorbar=dict(tickformat=".0%", thickness=10, outlinewidth=0),
            hovertemplate="true %{y}<br>predicted %{x}<br>%{text} samples, %{z:.1%}<extra></extra>",
        )
    )
    ticks = _class_ticks(class_names)
    figure.update_xaxes(
        ticks,
        title_text="predicted class",
        showgrid=False,
        constrain="domain",
        constraintoward="left",
    )
    figure.update_yaxes(ticks, title="true class", showgrid=False, autorange="reversed", scaleanchor="x")
    return figure


def _escape(text: str) -> str:
    """Return `text` so that plotly shows it as it is: no tag, no entity, no formula."""
    return html.escape(str(text), quote=False).replace("$", "&#36;")


def _label(text: str, length: int = _LABEL_LENGTH) -> str:
    """Return an escaped label, cut to what fits beside an axis."""
    text = " ".join(str(text).split())
    return _escape(text if len(text) <= length else text[: length - 1] + "…")


def _caption(text: str, length: int) -> str:
    return "<br>".join(_label(line, length) for line in text.split("\n"))


def _new_figure(title: str, **layout: Any) -> go.Figure:
    return go.Figure(layout=dict(template=build_template(), title_text=_escape(title), **layout))


def _empty_figure(title: str, message: str) -> go.Figure:
    figure = _new_figure(title, height=180)
    figure.add_annotation(text=message, showarrow=False, xref="paper", yref="paper", x=0.5, y=0.5)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def _legend_on_top(figure: go.Figure) -> go.Figure:
    return figure.update_layout(
        legend=dict(orientation="h", x=1, xanchor="right", y=1, yanchor="bottom", traceorder="normal")
    )


def _epoch_metrics(events: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Return (completed epochs, value) by metric; epochs count from 1 as a reader does."""
    history: dict[str, list[tuple[int, float]]] = {}
    for event in events:
        if event["type"] == "epoch":
            for metric, value in event["metrics"].items():
                history.setdefault(metric, []).append((event["epoch"] + 1, value))
    return history


def _metric_names(histories: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the metrics without their `val_` twins, the loss first."""
    names = {name.removeprefix("val_"): None for history in histories.values() for name in history}
    return sorted(names, key=lambda name: name != "loss")


def _curve_traces(
    history: Mapping[str, list[tuple[int, float]]], metric: str, name: str, color: str
) -> list[go.Scatter]:
    traces = []
    for key, kind, dash in ((metric, "training", "dot"), (f"val_{metric}", "validation", "solid")):
        points = np.array(history.get(key, ()), dtype=np.float64).reshape(-1, 2)
        if len(points):
            traces.append(
                go.Scatter(
                    x=points[:, 0].astype(np.int32),
                    y=points[:, 1].astype(np.float32),
                    name=f"{_label(name)}, {kind}",
                    mode="lines+markers" if len(points) < 30 else "lines",
                    line=dict(color=color, dash=dash, width=2),
                    marker_size=5,
                    hovertemplate="%{y:.4g}",
                )
            )
    return traces


def _lay_out_panels(figure: go.Figure, metrics: Sequence[str]) -> None:
    """Give every metric a panel with its own axes, two panels a row."""
    rows = math.ceil(len(metrics) / 2)
    width, height = (1, 1 / rows) if len(metrics) == 1 else (0.45, 1 / rows)
    for number, metric in enumerate(metrics):
        row, column = divmod(number, 2)
        top = 1 - row * height
        suffix = str(number + 1) if number else ""
        x_axis = dict(domain=[column * 0.55, column * 0.55 + width], anchor=f"y{suffix}", title="epoch")
        y_axis = dict(domain=[top - height * (0.78 if rows > 1 else 1), top], anchor=f"x{suffix}")
        y_axis["title"] = _escape(metric.replace("_", " "))
        figure.update_layout({f"xaxis{suffix}": x_axis | _epoch_ticks(figure), f"yaxis{suffix}": y_axis})
    figure.update_layout(height=120 + 260 * rows)


def _epoch_ticks(figure: go.Figure) -> dict[str, Any]:
    last = max(int(trace.x.max()) for trace in figure.data)
    return dict(tick0=0, dtick=max(1, math.ceil(last / 8)), range=[0.7, last + 0.3])


def _add_curve_legend(figure: go.Figure, names: Sequence[str]) -> None:
    """Explain colours (runs) and dashes (training, validation) without a line for every pair."""
    entries = [(_label(name), PALETTE[n % len(PALETTE)], "solid") for n, name in enumerate(names)]
    entries += [("validation", _INK, "solid"), ("training", _INK, "dot")]
    for name, color, dash in entries:
        figure.add_trace(
            go.Scatter(x=[None], y=[None], name=name, mode="lines", line=dict(color=color, dash=dash))
        )
    figure.update_layout(
        legend=dict(orientation="h", x=0, y=1.02, yanchor="bottom", itemclick=False),
        margin_t=100,
    )


def _arrange(tiles: Sequence[np.ndarray], room: int) -> tuple[np.ndarray, np.ndarray]:
    """Return one (height, width, 4) picture of all tiles, and the (n, 2) top left corners of their cells.

    Args:
        tiles: (height, width, 4) uint8, all of one size.
        room: Pixels to leave under each tile.
    """
    tile_height, tile_width = tiles[0].shape[:2]
    columns = min(_COLUMNS, len(tiles))
    cell = np.array([tile_height + room, _TILE + _GAP])
    corners = np.stack(np.divmod(np.arange(len(tiles)), columns), axis=1) * cell
    height, width = corners[-1, 0] + cell[0], columns * cell[1]
    sheet = np.zeros((height, width, 4), np.uint8)  # transparent between the tiles
    indent = (cell[1] - tile_width) // 2
    for tile, (top, left) in zip(tiles, corners, strict=True):
        sheet[top : top + tile_height, left + indent : left + indent + tile_width] = tile
    return sheet, corners


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """Return (height, width, 4) uint8 with the longer side near `_TILE`; small ones keep sharp pixels."""
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    longer = max(picture.size)
    factor = max(1, _TILE // longer) if longer <= _TILE else _TILE / longer
    size = tuple(max(1, round(side * factor)) for side in picture.size)
    resample = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.LANCZOS
    return np.asarray(picture.resize(size, resample).convert("RGBA"))


def _png(pixels: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _bars_height(class_names: Sequence[str]) -> int:
    return int(np.clip(22 * len(class_names), 160, 1000)) + 110


def _class_ticks(class_names: Sequence[str]) -> dict[str, Any]:
    """Return the settings of an axis of classes; of very many, every second or third is named."""
    shown = range(0, len(class_names), math.ceil(len(class_names) / _MOST_NAMED_CLASSES))
    return dict(
        type="category",
        tickvals=list(shown),
        ticktext=[_label(class_names[number]) for number in shown],
        tickfont_size=12 if len(class_names) <= 20 else 9,
    )


def _word_counts(texts: np.ndarray) -> np.ndarray:
    """Return the number of words of each text; an ideograph of a text without spaces counts as one."""
    return np.array([len(text.split()) for text in texts], dtype=np.int64)
