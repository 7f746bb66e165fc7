"""Trains one stage: steps, log lines, looks at held-out data, checkpoints."""

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from trainer.checkpoints import Checkpoint, CheckpointStore, Position
from trainer.config import StageConfig, TrainingConfig
from trainer.data import make_held_out_datasets, make_train_dataset
from trainer.model import MaskedLanguageModel
from trainer.optimizer import create_slots, learning_rate_at, make_optimizer
from trainer.progress import Progress
from trainer.shards import Dataset
from trainer.step import HeldOutStep, StepMetrics, TrainStep
from trainer.train_log import TRAIN, LogLine, TrainLog, average


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageTrainer:
    """What training of any stage of a run needs.

    Attributes:
      config: the run.
      strategy: the devices.
      model: what is trained; built in the strategy's scope.
      store: takes checkpoints.
      log: takes lines of train.csv.
      identity: what the run is made of.
      tensorboard: folder of event files.
      quiet: whether no progress is shown.
      received: signals; as soon as there is one, the run is saved and ends.
    """

    config: TrainingConfig
    strategy: tf.distribute.Strategy
    model: MaskedLanguageModel
    store: CheckpointStore
    log: TrainLog
    identity: dict[str, Any]
    tensorboard: str
    quiet: bool
    received: Sequence[int]

    def train(self, number: int, dataset: Dataset, newest: Checkpoint | None) -> Checkpoint:
        """Trains a stage to its end, or until a signal comes.

        Args:
          number: of the stage, from 1.
          dataset: its data.
          newest: the checkpoint that the run has reached, of this stage or the end of the one
            before; None at the start of the first.

        Returns:
          The last checkpoint.

        Raises:
          FloatingPointError: the loss is no number any more.
        """
        stage = self.config.stages[number - 1]
        with self.strategy.scope():
            optimizer = make_optimizer(self.config.optimizer, stage)
            create_slots(optimizer, self.model.trainable_variables)
        position = Position(
            stage=number, max_seq_length=stage.max_seq_length, step=0, data_position=0
        )
        if newest and newest.position.stage == number:
            newest.restore(model=self.model.full, optimizer=optimizer)
            position = newest.position
        elif newest:
            newest.restore(model=self.model.full)
        train_step = TrainStep(
            *(self.model, optimizer, self.strategy),
            stage_number=number,
            grad_accum_steps=stage.grad_accum_steps(self.strategy.num_replicas_in_sync),
            global_batch_size=stage.global_batch_size,
            jit_compile=self.config.jit_compile,
        )
        batches = iter(self._distribute(stage, dataset, position.data_position))
        corpora = make_held_out_datasets(
            dataset,
            stage.micro_batch_size * self.strategy.num_replicas_in_sync,
            self.config.held_out_sequences,
        )
        held_out = HeldOutStep(self.model, self.strategy, jit_compile=self.config.jit_compile)
        with contextlib.closing(self._make_progress(stage, position)) as progress:
            while position.step < stage.optimizer_steps:
                metrics = train_step.run(batches, self._steps_to_run(position.step, stage))
                position = self._log_steps(position, metrics, stage, progress)
                is_last = position.step == stage.optimizer_steps
                if is_last or position.step % self.config.held_out_steps == 0:
                    loss = self._look_at_held_out(held_out, corpora, position, progress)
                    position = dataclasses.replace(position, held_out_loss=loss)
                is_due = position.step % self.config.save_steps == 0
                if is_last or is_due or position.held_out_loss is not None or self.received:
                    newest = self._save(position, optimizer)
                if self.received:
                    break
        assert newest
        return newest

    def _distribute(self, stage: StageConfig, dataset: Dataset, data_position: int) -> Any:
        def make_batches(context: tf.distribute.InputContext) -> Any:
            hosts = context.num_input_pipelines
            return make_train_dataset(
                dataset,
                seed=self.config.seed,
                masking=self.config.masking,
                vocab_size=self.config.model.vocab_size,
                batch_size=context.get_per_replica_batch_size(stage.global_batch_size),
                position=data_position // hosts,
                host=context.input_pipeline_id,
                hosts=hosts,
            )

        return self.strategy.distribute_datasets_from_function(make_batches)

    def _make_progress(self, stage: StageConfig, position: Position) -> Progress:
        earlier = self.config.stages[: position.stage - 1]
        return Progress(
            f"stage {position.stage} ({stage.max_seq_length})",
            steps=stage.optimizer_steps,
            done=position.step,
            global_batch_size=stage.global_batch_size,
            earlier_steps=sum(other.optimizer_steps for other in earlier),
            tensorboard=self.tensorboard,
            quiet=self.quiet,
        )

    def _steps_to_run(self, step: int, stage: StageConfig) -> int:
        """Returns how many steps may run before something is due."""
        due = [
            (step // every + 1) * every
            for every in (self.config.held_out_steps, self.config.save_steps)
        ]
        return min(self.config.steps_per_execution, min(*due, stage.optimizer_steps) - step)

    def _log_steps(
        self, position: Position, metrics: StepMetrics, stage: StageConfig, progress: Progress
    ) -> Position:
        """Takes in what steps gave; returns the position behind them."""
        step, unlogged = position.step, [*position.unlogged]
        logged = len(self.log.lines)
        figures = [[float(n) for n in pair] for pair in zip(*metrics, strict=True)]
        for loss, accuracy in figures:
            step += 1
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"stage {position.stage}, step {step:,}: the loss is {loss}; lower "
                    "learning_rate or raise warmup_steps, and start afresh"
                )
            unlogged.append([loss, accuracy])
            if step % self.config.log_steps == 0 or step == stage.optimizer_steps:
                means = [average(values) for values in zip(*unlogged, strict=True)]
                rate = learning_rate_at(stage, step - 1)
                self._log(position, step, TRAIN, (means[0], means[1], rate), progress)
                unlogged = []
        if len(self.log.lines) > logged:
            self.log.save()
        progress.advance(len(figures), *figures[-1])
        return dataclasses.replace(
            position,
            step=step,
            data_position=position.data_position + len(figures) * stage.global_batch_size,
            unlogged=unlogged,
            held_out_loss=None,
        )

    def _look_at_held_out(
        self,
        held_out: HeldOutStep,
        corpora: Mapping[str, Any],
        position: Position,
        progress: Progress,
    ) -> float | None:
        """Logs loss and accuracy of each corpus; returns the loss over all their sequences."""
        stage = self.config.stages[position.stage - 1]
        rate = learning_rate_at(stage, position.step - 1)
        all_losses, all_sequences = 0.0, 0
        for corpus, batches in corpora.items():
            sums = [[float(n) for n in held_out.run(batch)] for batch in batches]
            losses, accuracies, sequences = (
                math.fsum(column) for column in zip(*sums, strict=True)
            )
            figures = (losses / sequences, accuracies / sequences, rate)
            self._log(position, position.step, corpus, figures, progress)
            all_losses, all_sequences = all_losses + losses, all_sequences + sequences
        self.log.save()
        return all_losses / all_sequences if all_sequences else None

    def _log(
        self,
        position: Position,
        step: int,
        data: str,
        figures: tuple[float, float, float],
        progress: Progress,
    ) -> None:
        line = LogLine(position.stage, position.max_seq_length, step, data, *figures)
        self.log.add(line)
        progress.show(line)

    def _save(self, position: Position, optimizer: Any) -> Checkpoint:
        return self.store.save(position, self.identity, model=self.model.full, optimizer=optimizer)
