"""Why a network says what it says, and whether the explanation can be believed. Needs Keras on TensorFlow.

Grad-CAM and integrated gradients for images, integrated gradients and occlusion for texts; every map can be
put to two tests: does it change when the weights are randomized, and does the network lose its class when
the marked places are taken away?
"""

from workbench.evaluation.explanation.faithfulness import (
    Faithfulness,
    measure_faithfulness,
    measure_word_faithfulness,
)
from workbench.evaluation.explanation.images import explain_gradcam, integrate_gradients
from workbench.evaluation.explanation.runs import build_predict, explain_words, load_network, table_words
from workbench.evaluation.explanation.sanity import check_sanity, compare_explanations, keep_randomized
from workbench.evaluation.explanation.texts import integrate_token_gradients, merge_tokens, occlude_words

__all__ = [
    "Faithfulness",
    "build_predict",
    "check_sanity",
    "compare_explanations",
    "explain_gradcam",
    "explain_words",
    "integrate_gradients",
    "integrate_token_gradients",
    "keep_randomized",
    "load_network",
    "measure_faithfulness",
    "measure_word_faithfulness",
    "merge_tokens",
    "occlude_words",
    "table_words",
]
