"""How good a model is, how far that can be trusted, and where it fails.

Nothing here imports a deep-learning framework but `explanation`, which loads when it is asked for;
scikit-learn loads with the first measure.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["explanation", "statistics"],
    submod_attrs={
        "ablation": ["ablate"],
        "baselines": ["evaluate_baselines"],
        "calibration": [
            "bound_calibration_error",
            "fit_temperature",
            "measure_calibration_error",
            "measure_reliability",
            "scale_temperature",
        ],
        "estimates": ["Estimate"],
        "guards": ["check_results", "log_findings"],
        "label_errors": ["find_label_errors", "rank_confusions"],
        "leakage": ["check_splits", "find_near_duplicates"],
        "measures": [
            "MEASURES",
            "count_confusions",
            "evaluate_predictions",
            "measure_classes",
            "measure_predictions",
        ],
        "output_measures": ["measure_outputs"],
        "outputs": ["Outputs", "read_outputs", "write_outputs"],
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
        "robustness": ["corrupt_images", "corrupt_texts", "measure_robustness"],
        "rounding": ["format_estimate"],
        "selection": ["find_worst_mistakes", "spread_over_classes"],
        "slices": ["describe_samples", "find_slices", "measure_groups"],
        "verdicts": ["Verdict", "compare", "judge"],
    },
)
