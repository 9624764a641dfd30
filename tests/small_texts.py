"""A few texts of two classes for the small transformer, as tests of text encoders train on them."""

import numpy as np

import workbench as wb
from workbench.models.text import load_tokenizer, tokenize_split

TEXTS = ["A wonderful film.", "A dreadful film, a bore", "Wonderful!", "What a dreadful, dreadful bore."] * 4


def make_tokenizer(max_length):
    return load_tokenizer("small-transformer", TEXTS, max_length=max_length)


def make_batches(tokenizer, batch_size):
    split = wb.Split(
        {"text": np.array(TEXTS, object)}, {"label": np.arange(16) % 2}, np.arange(16).astype(str)
    )
    return tokenize_split(tokenizer, split).batches(batch_size, mask="padding_mask")
