/** @file Every kernel registers itself when imported. */
import './matmul.js';
import './batched-matmul.js';
import './column-dots.js';
import './columns.js';
import './dora-linear.js';
import './dropout.js';
import './linear.js';
import './linear-cross-entropy.js';
import './lora-linear.js';
import './optimizer.js';
import './rms-norm.js';
import './rope.js';
import './rows.js';
import './scores.js';
import './swiglu.js';
import './top-k.js';
