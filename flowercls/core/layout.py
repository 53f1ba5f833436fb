"""Names of the files and folders in a prepared folder, a run folder and a sweep folder.

Each group below is one kind of folder. Patterns are for `Path.glob`; functions build the names that carry a number.
"""

MAX_NAME_BYTES = 200  # of any file we name; file systems take 255, and the rest is for suffixes

# Prepared folder (flowercls/data/README.md)
CLASSES_FILE = 'classes.txt'
MANIFEST_FILE = 'manifest.json'
OVERVIEW_FILE = 'overview.png'
NEAR_DUPLICATES_FILE = 'near_duplicates.png'  # only where there are groups
PREPARED_PICTURES = (OVERVIEW_FILE, NEAR_DUPLICATES_FILE)
TRAIN_DIR, VAL_DIR, TEST_DIR = 'training_set', 'val_set', 'test_set'
ANN_FILES = {'train': 'train.txt', 'val': 'val.txt', 'test': 'test.txt'}
DATA_PREFIXES = {'train': TRAIN_DIR, 'val': VAL_DIR, 'test': TEST_DIR}
SPLIT_TITLES = {'train': 'training', 'val': 'validation', 'test': 'test'}
SET_TITLES = {TRAIN_DIR: 'training', VAL_DIR: 'validation', TEST_DIR: 'test'}
FOLDS_DIR = 'folds'

# Run folder (flowercls/train/README.md); file names follow mmengine
CONFIG_FILE = 'config.py'
SOURCE_PREFIX = 'source_'  # followed by the name of the user's config file
COMMAND_FILE = 'command.txt'
LOCK_FILE = '.lock'
LOG_PATTERN = '*.log'
SCALARS_FILE = 'scalars.json'
LAST_CHECKPOINT_FILE = 'last_checkpoint'
CHECKPOINT_PATTERNS = ('epoch_*.pth', 'iter_*.pth', 'best_*_epoch_*.pth')
OLD_CONFIG_PREFIX = 'config_until_'
METRICS_FILE = 'metrics.json'
PREDICTIONS_VAL_FILE = 'predictions_val.csv'  # of the best checkpoint
PREDICTIONS_VAL_LAST_FILE = 'predictions_val_last.csv'  # of the last epoch, which no photo chose
MISTAKES_FILE = 'mistakes.csv'
CURVES_PICTURE = 'curves.png'
CONFUSION_PICTURE = 'confusion.png'
RELIABILITY_PICTURE = 'reliability.png'
MISTAKES_PICTURE = 'mistakes.png'
MISTAKES_HEATMAPS_PICTURE = 'mistakes_heatmaps.png'
REPORT_FILE = 'report.html'
CALIBRATION_FILE = 'calibration.json'  # of the best checkpoint
EXPORT_DIR = 'export'
EXPORT_FILE = 'export.json'  # in it: what was exported, and how it compares with the checkpoint

# Folder of a test, test_<checkpoint stem>/ in a run folder; test_<checkpoint stem>_<folder>/ of a labelled folder
TEST_PREFIX = 'test_'
PREDICTIONS_FILE = 'predictions.csv'
SEEN_FILE = 'seen_in_training.csv'  # photos of the folder that were trained on, or chose the epoch

# Beside the file that `predict` writes, until it is complete
PARTIAL_SUFFIX = '.partial'  # the rows so far
RECORD_SUFFIX = '.partial.json'  # what they are, to go on with them

# Sweep folder (flowercls/sweep/README.md)
LEDGER_FILE = 'ledger.jsonl'
TRIALS_DIR = 'trials'
CONSOLE_FILE = 'console.txt'  # in a trial: its output
COMPARISON_STEM = 'comparison'
COMPARISON_SUFFIXES = ('.md', '.csv', '.json', '.png', '_effects.csv')
PLAN_STEM, PLAN_SUFFIXES = 'plan', ('.md', '.csv', '.png')  # of a plan, in a folder that the user names
OOF_PREDICTIONS_STEM = 'oof_predictions'
DOUBTFUL_LABELS_FILE = 'doubtful_labels.csv'
DOUBTFUL_LABELS_PICTURE = 'doubtful_labels.png'


def fold_file(fold: int, split: str) -> str:
    """Return the name of a fold's list in the prepared folder, ``folds/fold_0_train.txt``."""
    return f'{FOLDS_DIR}/fold_{fold}_{split}.txt'


def epoch_checkpoint(epoch: int) -> str:
    """Return the name of the checkpoint written after ``epoch`` epochs."""
    return f'epoch_{epoch}.pth'


def iter_checkpoint(step: int) -> str:
    """Return the name of the checkpoint written in the middle of an epoch, after ``step`` steps."""
    return f'iter_{step}.pth'


def best_prefix(metric: str) -> str:
    """Return how the best checkpoint's name begins, ``best_accuracy_top1_epoch_``; the epoch and ``.pth`` follow."""
    return f'best_{metric.replace("/", "_")}_epoch_'
