"""What is known of the licence of starting weights, by the name of their file."""

import re

_IMAGENET = (
    'They were trained on ImageNet, whose photos may be used for research that is not commercial; whether that binds '
    'weights is not settled.'
)
# How files are called -> where they come from, and its licence. Who publishes weights may change the terms.
_ORIGINS = (
    (r'3rdparty.*-[0-9a-f]{8}\.pth$', 'OpenMMLab, converted from the files of another project, whose licence holds'),
    (r'_(in1k|imagenet)_\d{8}.*-[0-9a-f]{8}\.pth$', 'OpenMMLab (mmpretrain is under Apache-2.0)'),
    (
        r'^[a-z0-9_]+-[0-9a-f]{8}\.pth$',
        'torchvision (its code is under BSD-3-Clause, its weights say nothing)',
    ),
    (r'(^|_)tf_', 'TensorFlow, converted (its published models are mostly under Apache-2.0)'),
)


def weights_licence(starting_weights: str | None) -> str:
    """Return a sentence or two on the licence of starting weights, for a reader who has to check it.

    Args:
        starting_weights: The name of their file; None where training began from random weights.
    """
    if not starting_weights:
        return 'Training began from random weights, so no licence of other weights applies.'
    for pattern, origin in _ORIGINS:
        if re.search(pattern, starting_weights):
            return f'By their name these weights come from {origin}. {_IMAGENET} Check both before you publish.'
    return 'The licence of these weights is not known here. Check it before you publish.'
