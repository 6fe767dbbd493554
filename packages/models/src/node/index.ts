/** @file Public names of what needs Node. */

export { HubError, keepSecret, withoutSecrets } from '../hub/hub-error.js';
export { isRepoId, splitEndpoint } from '../hub/repo-id.js';
export { type FromPretrainedOptions, fromPretrained, resolveModelDirectory } from './from-pretrained.js';
export { isGgufFile } from './gguf/open-gguf-model.js';
export { type SaveGgufAdapterOptions, type SaveGgufOptions, saveGguf, saveGgufAdapter } from './gguf/save-gguf.js';
export { type DownloadOptions, type DownloadProgress, downloadDataset, downloadModel } from './hub/download.js';
export { cacheDirOf, type Environment, endpointOf, isOffline, tokenOf } from './hub/environment.js';
export { fetchFor } from './hub/proxy.js';
export { loadTokenizer, readTokenizerFiles } from './load-tokenizer.js';
export { type ModelDirectory, openModelDirectory } from './model-directory.js';
export { type SavableModel, type SaveModelOptions, saveModel } from './save-model.js';
