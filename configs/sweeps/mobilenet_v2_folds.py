"""Five-fold cross-validation with a network small enough for a CPU: MobileNetV2, two epochs.

Needs:   the lists of python tools/prepare_data.py RAW_DIR data/flower --folds 5
Run:     python tools/sweep.py configs/sweeps/mobilenet_v2_folds.py --jobs 2
Expect:  oof_predictions.csv and doubtful labels in the sweep's folder; see configs/README.md.
"""

_base_ = ['./folds.py']
base = 'configs/mobilenet_v2_flower.py'
overrides = {'train_cfg.max_epochs': 2}
