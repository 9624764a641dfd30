"""How good a model is: stored predictions, measures, baselines and mistakes.

Nothing here imports a deep-learning framework; scikit-learn loads with the first measure.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "baselines": ["evaluate_baselines"],
        "measures": ["MEASURES", "count_confusions", "evaluate_predictions", "measure_classes"],
        "predictions": ["Predictions", "read_predictions", "write_predictions"],
        "results": [
            "Result",
            "average_predictions",
            "file_name",
            "group_by_model",
            "load_test_data",
            "read_results",
        ],
        "selection": ["find_worst_mistakes", "spread_over_classes"],
    },
)
