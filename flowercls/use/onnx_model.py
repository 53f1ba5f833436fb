"""A model from an exported ONNX file, or from a package that holds one. It needs neither torch nor mmpretrain."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flowercls.core.errors import CheckpointError, ConfigError
from flowercls.core.workers import num_threads
from flowercls.use.export.onnx_file import DISTANCE, INPUT, MAX_BYTES, PROBABILITIES, check_onnx
from flowercls.use.model import Model

try:
    import onnxruntime
except ImportError:  # it comes with the extra
    onnxruntime = None

BATCH_SIZE = 4  # more is hardly faster, and phone photos are kept decoded, 36 MB each
MAX_STACKED_BYTES = 64 << 20  # of photos that are computed at once
FATAL_ONLY = 4  # onnxruntime's log level: an error is reported by its exception


class OnnxModel(Model):
    """An exported model, ready to classify on the CPU. Resize, crop and normalisation are in the file.

    Attributes:
        session: Of onnxruntime.
        steps: The test pipeline in the file, see `onnx_graph.described`.
    """

    batch_size = BATCH_SIZE

    def __init__(self, source: Path, content: bytes | None = None) -> None:
        """Open a file.

        Args:
            source: The .onnx or .zip.
            content: Of the ONNX file, where it is not on the disk yet.

        Raises:
            CheckpointError: if the file is damaged, not one of ours, or could do harm.
        """
        if onnxruntime is None:
            raise ConfigError(f'{source}: needs onnxruntime. Fix: pip install "flowercls[export]"')
        self.source = source
        content = read_content(source) if content is None else content
        about = check_onnx(content, source)
        self.class_names, self.facts, self.calibration = about.class_names, about.facts, about.calibration
        self.steps = about.steps
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = num_threads(), 1
        options.log_severity_level = FATAL_ONLY
        # Not onnxruntime's own format, which `check_onnx` cannot read; and no second try, which it would print.
        options.add_session_config_entry('session.load_model_format', 'ONNX')
        try:
            self.session = onnxruntime.InferenceSession(
                content, options, providers=['CPUExecutionProvider'], enable_fallback=0, read_config_from_model=0
            )
            outputs = {output.name: output.shape for output in self.session.get_outputs()}
            inputs = [(each.name, each.type, each.shape[-1:]) for each in self.session.get_inputs()]
        except Exception as error:  # a damaged file can fail in any way
            raise self._unusable(error) from error
        if inputs != [(INPUT, 'tensor(uint8)', [3])] or PROBABILITIES not in outputs:
            raise CheckpointError(
                f'{self.source}: does not turn photos into probabilities. '
                'Fix: use a file that `export --format onnx` wrote.'
            )
        if outputs[PROBABILITIES][1:] != [len(self.class_names)]:
            raise CheckpointError(
                f'{self.source}: gives probabilities of the shape {outputs[PROBABILITIES]} and names '
                f'{len(self.class_names)} classes. Fix: export it again.'
            )

    def _unusable(self, error: Exception) -> CheckpointError:
        reason = ' '.join(str(error).split())[:200]
        return CheckpointError(f'{self.source}: is damaged, or no model ({reason}). Fix: export it again.')

    def prepare(self, rgb: np.ndarray) -> np.ndarray:
        """Return the photo as it is: the file holds the test pipeline."""
        return rgb

    def mirrored(self, prepared: np.ndarray) -> np.ndarray:
        """Return the mirror image of a photo."""
        return prepared[:, ::-1]

    def classify(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """Return probabilities as `Model.classify`; photos of one size are computed together."""
        return self._outputs([PROBABILITIES], prepared)[0]

    def classify_with_distances(self, prepared: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities and distances as `Model.classify_with_distances`."""
        scores, distances = self._outputs([PROBABILITIES, DISTANCE], prepared)
        return scores, distances

    def _outputs(self, names: list[str], prepared: Sequence[np.ndarray]) -> list[np.ndarray]:
        by_shape: dict[tuple, list[int]] = {}
        for row, rgb in enumerate(prepared):
            by_shape.setdefault(rgb.shape, []).append(row)
        results, order = [[] for _ in names], []
        for rows in by_shape.values():
            step = max(1, MAX_STACKED_BYTES // prepared[rows[0]].nbytes)
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                order += part
                for result, values in zip(results, self._run(names, [prepared[row] for row in part]), strict=True):
                    result.append(values)
        back = np.argsort(order)
        return [np.concatenate(result)[back] for result in results]

    def run(self, output: str, photos: np.ndarray) -> np.ndarray:
        """Return one output for photos of one size, uint8, shape (N, H, W, 3).

        Raises:
            CheckpointError: if the graph cannot be computed.
        """
        return self._run([output], photos)[0]

    def _run(self, names: list[str], photos: Sequence[np.ndarray]) -> list[np.ndarray]:
        try:
            return self.session.run(names, {INPUT: np.stack(photos)})
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise self._unusable(error) from error


def read_content(source: Path) -> bytes:
    """Return the content of an ONNX file, or of the one in a package.

    Raises:
        CheckpointError: if it cannot be read.
    """
    if source.suffix.lower() == '.zip':
        from flowercls.use.export.package_zip import read_model

        return read_model(source)
    try:
        with source.open('rb') as file:
            return file.read(MAX_BYTES + 1)  # `check_onnx` refuses more
    except OSError as error:
        raise CheckpointError(f'{source}: cannot be read ({error.strerror}). Fix: allow reading it.') from error
