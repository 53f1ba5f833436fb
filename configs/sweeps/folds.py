"""Five-fold cross-validation: every prepared photo is predicted by a model that never saw it.

Needs:   the lists of python tools/prepare_data.py RAW_DIR data/flower --folds 5
Run:     python tools/sweep.py configs/sweeps/folds.py
Expect:  oof_predictions.csv in the sweep's folder, and its top-1 over all photos. The epoch of each fold is its best
         one, chosen on that fold, so the figure is too high; the sweep prints by how much. And doubtful_labels.csv,
         .png: photos whose label these predictions contradict, to look at; what you write into the column "review" is kept.
"""

base = 'configs/resnet50_flower.py'
grid = {
    'fold': {
        k: {
            'train_dataloader.dataset.ann_file': f'folds/fold_{k}_train.txt',
            'val_dataloader.dataset.ann_file': f'folds/fold_{k}_val.txt',
        }
        for k in range(5)
    }
}
seeds = [0]
