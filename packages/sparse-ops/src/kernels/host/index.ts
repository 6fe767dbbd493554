/** @file Registers every kernel for backends of host memory; importing it is enough. */
import './packed-attention.js';
