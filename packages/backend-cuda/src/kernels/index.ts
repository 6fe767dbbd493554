/** @file Every kernel registers itself when imported. */
import './matmul.js';
import './unary.js';
import './binary.js';
import './constant.js';
import './select.js';
import './movement.js';
import './joining.js';
import './reduce.js';
import './arg-reduce.js';
import './softmax.js';
import './scan.js';
import './sort.js';
import './gather.js';
import './scatter.js';
import './composed.js';
import './random.js';
