"""torchvision's ResNet-18 on the five flowers, exercise 2 of the reports: torchvision's weights and transforms.

Run:     python tools/train.py configs/torchvision_resnet18_flower.py
Expect:  single runs, report C 91.40 %, report D 92.81 % validation top-1.
Differs: strong augmentation; SGD 0.001, a tenth of it after every 7 epochs (7, 14, 21), 25 epochs. Rate, loss and
         accuracy of both phases go to the run folder's scalars.json and curves.png, the best model to
         best_accuracy_top1_epoch_N.pth.
"""

_base_ = [
    '_base_/models/torchvision.py',
    '_base_/datasets/flower_224_report_c.py',
    '_base_/schedules/sgd_step_25e.py',
    '_base_/default_runtime.py',
]
