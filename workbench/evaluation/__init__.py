"""How good a model is: stored predictions, measures, baselines and mistakes.

Nothing here imports a deep-learning framework; scikit-learn loads with the first measure.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "baselines": ["evaluate_baselines"],
        "calibration": [
            "bound_calibration_error",
            "fit_temperature",
            "measure_calibration_error",
            "measure_reliability",
            "scale_temperature",
        ],
        "estimates": ["Estimate"],
        "guards": ["check_results"],
        "measures": [
            "MEASURES",
            "count_confusions",
            "evaluate_predictions",
            "measure_classes",
            "measure_predictions",
        ],
        "outputs": ["Outputs", "measure_outputs", "read_outputs", "write_outputs"],
        "pairs": ["Pair"],
        "predictions": ["Predictions", "read_predictions", "write_predictions"],
        "results": [
            "Result",
            "average_predictions",
            "file_name",
            "group_by_model",
            "keep_different_seeds",
            "load_test_data",
            "read_result_groups",
            "read_results",
        ],
        "rounding": ["format_estimate"],
        "selection": ["find_worst_mistakes", "spread_over_classes"],
        "verdicts": ["Verdict", "compare", "judge"],
    },
)
