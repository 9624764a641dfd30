"""Images in a grid over their captions."""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from workbench.evaluation.selection import spread_over_classes
from workbench.figures.style import empty_figure, new_figure, shorten_label

if TYPE_CHECKING:
    import pandas as pd

    from workbench.datasets import Split

_TILE = 96  # pixels along the longer side of a sample image
_GAP = 14  # pixels between sample images
_COLUMNS = 5  # of sample images; as many fit a narrow page
_CAPTION_LENGTH = 17  # characters that fit under a sample image


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
        return empty_figure(title, "There is no image to show")
    lines = max(caption.count("\n") + 1 for caption in captions)
    tiles = [make_thumbnail(image) for image in images]
    sheet, corners = _arrange(tiles, room=12 + 14 * lines)
    height, width = sheet.shape[:2]  # in pixels, also of the figure: captions keep their place
    figure = new_figure(title, width=width, height=height + 56, margin=dict(l=0, r=0, t=56, b=0))
    figure.add_trace(go.Image(source=encode_png(sheet), hoverinfo="skip"))
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
        return empty_figure(title, "There is no mistake: every test sample is classified correctly")
    captions = [
        f"true {row.true}\nsaid {row.predicted}\nwith {row.probability:.0%}" for row in mistakes.itertuples()
    ]
    return plot_images(images[mistakes["sample"]], captions, title)


def _caption(text: str, length: int) -> str:
    return "<br>".join(shorten_label(line, length) for line in text.split("\n"))


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


def make_thumbnail(image: np.ndarray) -> np.ndarray:
    """Return (height, width, 4) uint8 with the longer side near `_TILE`; small ones keep sharp pixels."""
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    longer = max(picture.size)
    factor = max(1, _TILE // longer) if longer <= _TILE else _TILE / longer
    size = tuple(max(1, round(side * factor)) for side in picture.size)
    resample = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.LANCZOS
    return np.asarray(picture.resize(size, resample).convert("RGBA"))


def encode_png(pixels: np.ndarray) -> str:
    """Return an image as the `data:` address of a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
