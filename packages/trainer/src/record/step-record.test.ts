/** @file The last loss that was read is told until the next one is, also where losses are read for log lines alone. */
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { StepRecord } from './step-record.js';

it('keeps the last loss after a log line has covered it', async () => {
  const before = tf.memory().numTensors;
  const record = new StepRecord();
  expect(record.lastLoss).toBeNull();
  record.addLoss(tf.scalar(0.5), 1, 0, [0]);
  record.addLoss(tf.scalar(0.25), 2, 0, [1]);
  // Not read yet.
  expect(record.lastLoss).toBeNull();
  await record.read(null);
  record.close();
  expect(record.take()).toEqual([0.5, 0.25]);
  expect(record.lastLoss).toBe(0.25);
  record.addLoss(tf.scalar(0.125), 3, 0, [2]);
  expect(record.lastLoss).toBe(0.25);
  await record.read(null);
  record.close();
  expect([record.lastLoss, record.losses]).toEqual([0.125, [0.125]]);
  expect(tf.memory().numTensors).toBe(before);
});

it('goes on from a checkpoint with the last loss that no log line has covered', () => {
  const record = new StepRecord();
  record.restore([2, 1]);
  expect(record.lastLoss).toBe(1);
  record.restore([]);
  expect(record.lastLoss).toBeNull();
});
