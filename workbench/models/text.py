"""Texts to tokens, and encoders that turn tokens into vectors.

Every encoder takes the same inputs and gives the same output, so a head fits all of them. An encoder is a
pretrained BERT-like model of the catalog (`weights` in data/catalog.yaml) or "small-transformer", which knows
nothing beforehand and learns its vocabulary from the training texts.
"""

import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from workbench.datasets import Split, load_catalog, load_weights
from workbench.datasets.kept import keep_arrays
from workbench.datasets.storage import digest_texts
from workbench.errors import OfflineError, WorkbenchError
from workbench.models.augmentation import drop_tokens
from workbench.models.recomputation import recompute
from workbench.runs import resolve_path, show_path

if TYPE_CHECKING:
    from keras_hub.models import BertBackbone
    from tokenizers import Tokenizer

FROM_SCRATCH = "small-transformer"
POSITIONS = 512  # the longest input of BERT's architecture, in tokens
VOCABULARY_SIZE = 8000  # at most, of a vocabulary learned here


def load_tokenizer(encoder: str, texts: Sequence[str] | np.ndarray, max_length: int) -> "Tokenizer":
    """Return the tokenizer that belongs to an encoder.

    Args:
        encoder: A pretrained model of the catalog, such as "minilm-l6", or "small-transformer".
        texts: (n,) str, the training texts; "small-transformer" learns its vocabulary from them alone.
        max_length: Tokens a text is cut or padded to, [CLS] and [SEP] included; 3 to 512.

    Raises:
        OfflineError: The pretrained model must be fetched and cannot be.
        WorkbenchError: There is no such encoder, these are no texts, or the length is out of range.
    """
    from tokenizers import Tokenizer

    _check_texts(texts)
    _check_length(max_length)
    if encoder == FROM_SCRATCH:
        tokenizer = _learn_tokenizer(texts)
    else:
        tokenizer = Tokenizer.from_file(str(_pretrained(encoder) / "tokenizer.json"))
    tokenizer.enable_truncation(max_length)
    tokenizer.enable_padding(length=max_length, pad_id=tokenizer.token_to_id("[PAD]"))
    return tokenizer


def tokenize(tokenizer: "Tokenizer", texts: Sequence[str] | np.ndarray) -> dict[str, np.ndarray]:
    """Return what an encoder takes for n texts.

    Returns:
        `token_ids` (n, max_length) int32, and `padding_mask` of the same shape: 1 for a token, 0 for
        padding.

    Raises:
        WorkbenchError: These are no texts, or a single one that is not in a list.
    """
    _check_texts(texts)
    encodings = tokenizer.encode_batch(list(texts))
    return {
        "token_ids": np.array([encoding.ids for encoding in encodings], np.int32),
        "padding_mask": np.array([encoding.attention_mask for encoding in encodings], np.int32),
    }


def tokenize_split(tokenizer: "Tokenizer", split: Split, *, cache_dir: str | Path | None = None) -> Split:
    """Return a split of texts as what an encoder takes: `tokenize` of its texts, with its targets and ids.

    It is done the first time, and kept under data/cache/tokens/ for these texts and this tokenizer with its
    vocabulary, its rules and its length.

    Args:
        tokenizer: From `load_tokenizer`.
        split: Texts (n,).
        cache_dir: Where tokens are kept; data/cache of the project by default.

    Example:
        tokenize_split(tokenizer, dataset.train).batches(32, seed=seed, mask="padding_mask")

    Raises:
        WorkbenchError: These are no texts.
    """
    _check_texts(split.x)
    rules = hashlib.sha256(
        f"{importlib.metadata.version('tokenizers')} {tokenizer.to_str()}".encode()
    ).hexdigest()
    identity = f"{rules[:16]}-{digest_texts(split.x)[:32]}"
    tokens = keep_arrays("tokens", identity, lambda: tokenize(tokenizer, split.x), cache_dir)
    return Split(tokens, split.targets, split.ids)


def build_encoder(
    encoder: str,
    tokenizer: "Tokenizer",
    *,
    frozen_layers: int = 0,
    lora_rank: int = 0,
    gradient_checkpointing: bool = False,
    token_dropout: float = 0.0,
    seed: int = 0,
) -> keras.Model:
    """Build a model that turns the tokens of a text into vectors.

    It takes what `tokenize` gives, also cut to fewer tokens, and returns (batch, tokens, width of the
    encoder).

    Args:
        encoder: As for `load_tokenizer`.
        tokenizer: The encoder's own.
        frozen_layers: How many layers keep their weights, counted from the input; the embeddings are
            the first.
        lora_rank: Rank of the matrices that are trained beside the attention's queries and values, in
            place of all other weights of the encoder (Hu et al. 2021,
            https://arxiv.org/abs/2106.09685); 0 to train the weights.
        gradient_checkpointing: Whether its layers are computed a second time for their gradients, which
            spares most of the memory that training takes beside the weights.
        token_dropout: The part of the words' tokens that is hidden while training: [MASK] stands in their
            place, or [PAD] where the vocabulary has no [MASK].
        seed: Of the token dropout.

    Raises:
        OfflineError: The pretrained model must be fetched and cannot be.
        WorkbenchError: There is no such encoder, or a number out of range.
    """
    import keras_hub

    if encoder == FROM_SCRATCH:
        backbone = _build_small_transformer(tokenizer.get_vocab_size())
    else:
        backbone = keras_hub.models.Backbone.from_preset(str(_pretrained(encoder)))
    _check_training(frozen_layers, lora_rank, backbone.num_layers + 1, backbone.hidden_dim)
    _choose_trained_weights(backbone, frozen_layers, lora_rank)
    for layer in backbone.transformer_layers if gradient_checkpointing else ():
        recompute(layer)
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
    one_segment = keras.ops.zeros_like(inputs["token_ids"])  # BERT can also take pairs of texts
    token_ids = _hide_tokens(inputs["token_ids"], tokenizer, token_dropout, seed)
    vectors = backbone({**inputs, "token_ids": token_ids, "segment_ids": one_segment})["sequence_output"]
    return keras.Model(inputs, vectors, name="encoder")


def read_fine_tuning(fine_tuning: str) -> dict[str, int]:
    """Return the arguments of `build_encoder` for a way to fine-tune that is told in a word.

    Args:
        fine_tuning: "all" for all weights, "frozen:4" for frozen layers, or "lora:8" for a rank.

    Example:
        build_encoder("minilm-l6", tokenizer, **read_fine_tuning("lora:8"))

    Raises:
        WorkbenchError: It is none of these.
    """
    if fine_tuning == "all":
        return {}
    kind, _, number = str(fine_tuning).partition(":")
    names = {"frozen": "frozen_layers", "lora": "lora_rank"}
    if kind not in names or not number.isdecimal():
        raise WorkbenchError(
            f"fine_tuning is {fine_tuning!r}, which says no way to fine-tune.\n"
            "Give all, frozen:4 (the lowest 4 layers keep their weights) or lora:8 (matrices of rank 8)."
        )
    return {names[kind]: int(number)}


def predict_texts(run_folder: str | Path, texts: Sequence[str]) -> np.ndarray:
    """Return the probabilities (n, classes) that the model of a finished run gives to n raw texts.

    Args:
        run_folder: A run of 03_finetune_text, relative to the project root.
        texts: Any texts.

    Raises:
        WorkbenchError: The run keeps no text model.
    """
    import keras_hub  # noqa: F401  (loading finds the encoder's layers among those that it registers)
    from tokenizers import Tokenizer

    artifacts = resolve_path(run_folder) / "artifacts"
    needed = [artifacts / name for name in ("tokenizer.json", "model.keras")]
    for path in needed:
        if not path.is_file():
            raise WorkbenchError(
                f"The run {show_path(artifacts.parent)} has no artifacts/{path.name}, so it cannot judge "
                "texts.\n"
                "Give the folder of a finished run of the notebook 03_finetune_text."
            )
    tokenizer, model = Tokenizer.from_file(str(needed[0])), keras.saving.load_model(needed[1])
    return model.predict(tokenize(tokenizer, texts), verbose=0)


def _learn_tokenizer(texts: Sequence[str] | np.ndarray) -> "Tokenizer":
    """Learn a byte-level BPE vocabulary; unlike the WordPiece trainer, it gives the same one every time."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=["[PAD]", "[CLS]", "[SEP]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(list(texts), trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[SEP]", "[CLS]")]
    tokenizer.post_processor = processors.BertProcessing(*ends)
    return tokenizer


def _build_small_transformer(vocabulary_size: int) -> "BertBackbone":
    import keras_hub

    return keras_hub.models.BertBackbone(
        vocabulary_size=vocabulary_size,
        num_layers=2,
        num_heads=4,
        hidden_dim=128,
        intermediate_dim=512,
        max_sequence_length=POSITIONS,
    )


def _choose_trained_weights(backbone: "BertBackbone", frozen_layers: int, lora_rank: int) -> None:
    backbone.pooled_dense.trainable = False  # it only reads [CLS], and nothing comes of it here
    if lora_rank:
        backbone.enable_lora(lora_rank)
        return
    embeddings = (
        backbone.token_embedding,
        backbone.position_embedding,
        backbone.segment_embedding,
        backbone.embeddings_layer_norm,
    )
    for parts in [embeddings, *zip(backbone.transformer_layers)][:frozen_layers]:
        for part in parts:
            part.trainable = False


def _hide_tokens(
    token_ids: keras.KerasTensor, tokenizer: "Tokenizer", rate: float, seed: int
) -> keras.KerasTensor:
    replacement = tokenizer.token_to_id("[MASK]")
    if replacement is None:
        replacement = tokenizer.token_to_id("[PAD]")
    ends = [tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]")]
    return drop_tokens(token_ids, rate, replacement, ends, seed)


def _pretrained(encoder: str) -> Path:
    known = [*load_catalog("weights"), FROM_SCRATCH]
    if encoder not in known:
        raise WorkbenchError(
            f"There is no encoder {encoder!r}.\n"
            f"Give one of {', '.join(known)}, or add a BERT-like model under weights in data/catalog.yaml."
        )
    try:
        return load_weights(encoder)
    except OfflineError as error:
        raise OfflineError(
            f"{error}\n"
            f"Or do without pretrained weights: encoder={FROM_SCRATCH} is trained from scratch and "
            "fetches nothing."
        ) from error


def _check_texts(texts: Sequence[str] | np.ndarray) -> None:
    if isinstance(texts, str):
        raise WorkbenchError(
            f"One text was given where many are taken, so that each of its {len(texts)} characters would be "
            "a text.\n"
            "Put it into a list."
        )
    strange = {type(text).__name__ for text in texts} - {"str"}
    if strange:
        raise WorkbenchError(
            f"A text encoder was given samples of the type {', '.join(sorted(strange))}, not texts.\n"
            "Give a dataset of texts, such as reviews or csv:PATH; images are for 02_train_cnn."
        )


def _check_length(max_length: int) -> None:
    if not 3 <= max_length <= POSITIONS:
        raise WorkbenchError(
            f"max_length is {max_length}, but a text is at least one token between [CLS] and [SEP], and "
            f"the encoder knows {POSITIONS} positions.\n"
            f"Give 3 to {POSITIONS}; longer texts are cut, shorter ones padded."
        )


def _check_training(frozen_layers: int, lora_rank: int, layers: int, width: int) -> None:
    if not 0 <= frozen_layers <= layers:
        raise WorkbenchError(
            f"frozen_layers is {frozen_layers}, but the encoder has {layers} layers, its embeddings being "
            "the first.\n"
            f"Give 0 to train all of them, {layers} to train the head alone, or a number between."
        )
    if not 0 <= lora_rank < width:
        raise WorkbenchError(
            f"lora_rank is {lora_rank}, but a rank lies below the encoder's width, {width}.\n"
            "Give 0 to train the weights themselves, or a small rank such as 4, 8 or 16."
        )
    if lora_rank and frozen_layers:
        raise WorkbenchError(
            f"frozen_layers is {frozen_layers} and lora_rank is {lora_rank}, but LoRA freezes every layer "
            "and trains matrices of its own.\n"
            "Give one of the two as 0."
        )
