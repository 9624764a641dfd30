"""Samples of the test set that training or validation also holds, exactly or nearly."""

from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import WorkbenchError
from workbench.findings import Finding

if TYPE_CHECKING:
    import pandas as pd

    from workbench.datasets import Dataset

_SIDE = 16  # pixels to which images are averaged before they are compared
_NEAR_IMAGES = 0.985  # correlation of two images that are taken for one, cut or compressed anew
_SAME_IMAGES = 0.9999  # of images with fewer pixels than that, where different ones are often alike
_NEAR_TEXTS = 0.9  # cosine of the counts of three characters of two texts, of the same words but for a few
_NEAR_PIXELS = 6.0  # mean difference of the grey values of such images, of 255
_CHUNK = 256  # test samples that are compared at a time
_SOURCE = "Barz & Denzler 2020, https://arxiv.org/abs/1902.00423"


def check_splits(dataset: "Dataset") -> list[Finding]:
    """Return findings about copies, and near copies, of test samples among the training samples.

    Raises:
        WorkbenchError: The task is not of images or texts.
    """
    pairs = find_near_duplicates(dataset)
    if pairs.empty:
        return []
    exact = int(pairs["exact"].sum())
    share = len(pairs) / len(dataset.test)
    differing = int((pairs["label"] != pairs["label_train"]).sum())
    words = [f"{exact} of them exactly"] if exact else []
    words += [f"{differing} with another label"] if differing else []
    return [
        Finding(
            "duplicates_across_splits",
            "error" if exact or share > 0.01 else "warning",
            f"{len(pairs)} of {len(dataset.test):,} test samples ({share:.1%}) are also, or nearly, in the "
            f"training set{': ' + ', '.join(words) if words else ''}.",
            "Look at them with find_near_duplicates(dataset); take them out of one set and train again.",
            {"pairs": len(pairs), "exact": exact, "first": pairs["id"].head(5).tolist()},
            _SOURCE,
        )
    ]


def find_near_duplicates(dataset: "Dataset") -> "pd.DataFrame":
    """Return the test samples that have a near copy in the training set, the most alike first.

    Images are averaged to 16x16 grey pixels and correlated, which finds copies that were compressed anew,
    and mirrored ones; of smaller images only equal ones count. Texts are compared by the cosine of their
    counts of three characters.

    Returns:
        Columns `id` and `label` of the test sample, `id_train` and `label_train` of its nearest training
        sample, `similarity` and `exact`.

    Raises:
        WorkbenchError: The task is not of images or texts.
    """
    import pandas as pd

    find = {"image-classification": _match_images, "text-classification": _match_texts}
    if dataset.task not in find:
        raise WorkbenchError(
            f"Near copies are not known for the task {dataset.task!r}.\nThey are for images and texts."
        )
    train, test = dataset.train, dataset.test
    rows = []
    for here, there, similarity in find[dataset.task](train.x, test.x):
        exact = np.array_equal(train.x[there], test.x[here])
        names = [dataset.class_names[split.y[row]] for split, row in ((test, here), (train, there))]
        rows.append((test.ids[here], names[0], train.ids[there], names[1], round(similarity, 4), exact))
    columns = ["id", "label", "id_train", "label_train", "similarity", "exact"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(["exact", "similarity"], ascending=False, kind="stable", ignore_index=True)


def _match_images(train: np.ndarray, test: np.ndarray) -> list[tuple[int, int, float]]:
    known, asked = (np.stack([_shrink(image) for image in images]) for images in (train, test))
    known_unit = _standardize(known)
    best = np.full(len(asked), -1.0)
    nearest = np.zeros(len(asked), int)
    for mirrored in (False, True):
        unit = _standardize(asked[:, :, ::-1] if mirrored else asked)
        for start in range(0, len(unit), _CHUNK):
            likeness = unit[start : start + _CHUNK] @ known_unit.T
            found = likeness.argmax(axis=1)
            value = likeness[np.arange(len(found)), found]
            where = start + np.flatnonzero(value > best[start : start + _CHUNK])
            best[where], nearest[where] = value[where - start], found[where - start]
    threshold = _NEAR_IMAGES if known[0].size >= _SIDE**2 else _SAME_IMAGES
    pairs = []
    for row in np.flatnonzero(best >= threshold):
        other = known[nearest[row]]
        gap = min(np.abs(other - asked[row]).mean(), np.abs(other - asked[row][:, ::-1]).mean())
        if gap <= _NEAR_PIXELS:
            pairs.append((int(row), int(nearest[row]), float(min(best[row], 1.0))))
    return pairs


def _shrink(image: np.ndarray) -> np.ndarray:
    """Return an image as grey pixels, averaged to 16x16 where it is larger: (height, width) float32."""
    grey = np.asarray(image, np.float32).mean(axis=-1)
    rows, columns = (np.linspace(0, side, min(side, _SIDE) + 1).astype(int)[:-1] for side in grey.shape)
    sums = np.add.reduceat(np.add.reduceat(grey, rows, axis=0), columns, axis=1)
    sizes = np.outer(np.diff([*rows, grey.shape[0]]), np.diff([*columns, grey.shape[1]]))
    return (sums / sizes).astype(np.float32)


def _standardize(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.divide(flat, length, out=np.zeros_like(flat), where=length > 0)


def _match_texts(train: np.ndarray, test: np.ndarray) -> list[tuple[int, int, float]]:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.preprocessing import normalize

    vectorizer = CountVectorizer(analyzer="char_wb", ngram_range=(3, 3), dtype=np.float32)
    known = normalize(vectorizer.fit_transform(train)).T.tocsr()
    asked = normalize(vectorizer.transform(test))
    pairs = []
    for start in range(0, asked.shape[0], _CHUNK):
        likeness = (asked[start : start + _CHUNK] @ known).toarray()
        found = likeness.argmax(axis=1)
        for row, other in enumerate(found):
            if likeness[row, other] >= _NEAR_TEXTS:
                pairs.append((start + row, int(other), float(min(likeness[row, other], 1.0))))
    return pairs
