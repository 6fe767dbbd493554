// @ts-nocheck
// Compiled from json-schema.ts by `npm run validators -w packages/config`; not written by hand.
/* biome-ignore-all lint: compiled */
"use strict";
export const validate_train = validate10;
const schema11 = {"$schema":"http://json-schema.org/draft-07/schema#","$id":"urn:spft:config:train","title":"Training file of SparseLoRA","type":"object","properties":{"model_name_or_path":{"description":"Directory of a Hugging Face model, or its id on the hub.","default":null,"type":["string","null"],"pattern":"\\S"},"dataset":{"description":"Training data: math10k, csr170k, a parquet, JSON, JSONL, CSV or TSV file, a directory of them, or OWNER/NAME on the hub; several joined by +.","default":null,"type":["string","null"],"pattern":"\\S"},"dataset_config":{"description":"Subset of a data set on the hub or in a directory, e.g. rte.","default":null,"type":["string","null"],"pattern":"\\S"},"dataset_revision":{"description":"Branch, tag or commit of a data set on the hub; also OWNER/NAME@REVISION.","default":null,"type":["string","null"],"pattern":"\\S"},"dataset_columns":{"description":"What the columns of the data set stand for, as FIELD=COLUMN joined by commas, e.g. instruction=query,output=answer.","default":[],"type":["string","array"],"items":{"type":"string"}},"eval_dataset":{"description":"Evaluation sets joined by +, e.g. gsm8k+svamp+mawps; \"none\" for none.","default":null,"type":["string","null"],"pattern":"\\S"},"chat_template_format":{"description":"Jinja chat template that replaces the one of the tokenizer; \"none\" keeps it.","default":null,"type":["string","null"],"pattern":"\\S"},"model_max_length":{"description":"Longest sample in tokens.","default":512,"type":"integer","minimum":1},"max_seq_length":{"description":"Longest sequence in tokens of a packed or padded row; equal to model_max_length.","default":512,"type":"integer","minimum":1},"append_concat_token":{"description":"Append the end-of-sequence token to each sample when packing.","default":false,"type":"boolean"},"add_special_tokens":{"description":"Let the tokenizer add its special tokens when packing.","default":false,"type":"boolean"},"splits":{"description":"Names of the training and the evaluation split, joined by commas; of data sets on the hub and in directories.","default":["train","test"],"type":["string","array"],"items":{"type":"string"}},"packing":{"description":"Join samples into rows of max_seq_length tokens.","default":false,"type":"boolean"},"dataset_text_field":{"description":"Field of a sample that holds its text, for plain-text datasets.","default":"text","type":["string","null"],"pattern":"\\S"},"skip_bad_rows":{"description":"Skip and count dataset rows that cannot be read, instead of stopping at the first.","default":false,"type":"boolean"},"num_train_epochs":{"description":"Passes over the training data.","default":3,"type":"number","exclusiveMinimum":0},"max_steps":{"description":"Optimizer steps; if positive, overrides num_train_epochs.","default":-1,"type":"integer","minimum":-1},"per_device_train_batch_size":{"description":"Samples per forward pass in training.","default":8,"type":"integer","minimum":1},"per_device_eval_batch_size":{"description":"Samples per forward pass in evaluation.","default":8,"type":"integer","minimum":1},"gradient_accumulation_steps":{"description":"Forward passes per optimizer step.","default":1,"type":"integer","minimum":1},"group_by_length":{"description":"Batches of samples of about the same length.","default":false,"type":"boolean"},"dataloader_drop_last":{"description":"Leave out the last batch of an epoch where it is not full.","default":false,"type":"boolean"},"optim":{"description":"Optimizer; the adamw variants are one and the same here. 8bit: moments as bitsandbytes keeps them, in a quarter of the memory.","default":"adamw_torch","type":"string","enum":["adamw_torch","adamw_torch_fused","adamw_hf","adamw","sgd","lion","adafactor","adamw_8bit","adamw_bnb_8bit","paged_adamw_8bit"]},"learning_rate":{"description":"Peak learning rate.","default":0.00005,"type":"number","minimum":0},"weight_decay":{"description":"Decoupled weight decay of AdamW; L2 penalty of SGD.","default":0,"type":"number","minimum":0},"adam_beta1":{"description":"Decay of the first moment.","default":0.9,"type":"number","minimum":0,"exclusiveMaximum":1},"adam_beta2":{"description":"Decay of the second moment.","default":0.999,"type":"number","minimum":0,"exclusiveMaximum":1},"adam_epsilon":{"description":"Added to the root of the second moment.","default":1e-8,"type":"number","exclusiveMinimum":0},"momentum":{"description":"Momentum of SGD.","default":0,"type":"number","minimum":0,"exclusiveMaximum":1},"max_grad_norm":{"description":"Clip gradients to this global norm; 0 for no clipping.","default":1,"type":"number","minimum":0},"lr_scheduler_type":{"description":"How the learning rate develops after warm-up.","default":"linear","type":"string","enum":["linear","cosine","constant","constant_with_warmup","cosine_with_restarts","polynomial","inverse_sqrt","warmup_stable_decay"]},"lr_scheduler_kwargs":{"description":"Parameters of the schedule as NAME=NUMBER joined by commas, or an object: num_cycles (cosine_with_restarts, warmup_stable_decay), lr_end, power (polynomial), timescale (inverse_sqrt), num_decay_steps, min_lr_ratio (warmup_stable_decay).","default":[],"type":["string","array"],"items":{"type":"string"}},"label_smoothing_factor":{"description":"So much of a label is spread over the whole vocabulary.","default":0,"type":"number","minimum":0,"exclusiveMaximum":1},"neftune_noise_alpha":{"description":"Noise on the embeddings in training (NEFTune); 5 is usual.","default":null,"type":["number","null"],"exclusiveMinimum":0},"warmup_ratio":{"description":"Fraction of all steps over which the learning rate rises from 0.","default":0,"type":"number","minimum":0,"maximum":1},"warmup_steps":{"description":"Steps over which the learning rate rises from 0; if positive, overrides warmup_ratio.","default":0,"type":"integer","minimum":0},"output_dir":{"description":"Directory for checkpoints, adapter, logs and report.","default":"trainer_output","type":"string","pattern":"\\S"},"run_name":{"description":"Name of the run in logs and report.","default":null,"type":["string","null"],"pattern":"\\S"},"report_to":{"description":"Where logs go besides the progress bar, joined by commas.","default":["all"],"type":["string","array"],"items":{"type":"string","enum":["none","all","jsonl","html","tensorboard","wandb"]}},"logging_strategy":{"description":"When to write log lines.","default":"steps","type":"string","enum":["no","steps","epoch"]},"logging_steps":{"description":"Steps between log lines; below 1 a share of the run. If not given, a tenth of the run, at most 500.","default":null,"type":["number","null"],"exclusiveMinimum":0},"logging_first_step":{"description":"Log the first step too.","default":false,"type":"boolean"},"eval_strategy":{"description":"When to evaluate during training.","default":"no","type":"string","enum":["no","steps","epoch"]},"eval_steps":{"description":"Steps between evaluations when eval_strategy is steps; below 1 a share of the run; logging_steps if not given.","default":null,"type":["number","null"],"exclusiveMinimum":0},"eval_on_start":{"description":"Evaluate before the first step too.","default":false,"type":"boolean"},"save_strategy":{"description":"When to write checkpoints.","default":"steps","type":"string","enum":["no","steps","epoch"]},"save_steps":{"description":"Steps between checkpoints when save_strategy is steps; below 1 a share of the run.","default":500,"type":"number","exclusiveMinimum":0},"save_only_model":{"description":"Checkpoints without optimizer, which no run can be continued from.","default":false,"type":"boolean"},"save_total_limit":{"description":"Keep at most so many checkpoints, best and last always; all if not given.","default":null,"type":["integer","null"],"minimum":1},"load_best_model_at_end":{"description":"Return to the best checkpoint after training.","default":false,"type":"boolean"},"metric_for_best_model":{"description":"Metric that decides which checkpoint is best; loss if not given.","default":null,"type":["string","null"],"pattern":"\\S"},"greater_is_better":{"description":"Whether a greater metric is better; if not given: unless the metric is a loss.","default":null,"type":["boolean","null"]},"resume_from_checkpoint":{"description":"Checkpoint to continue from; \"true\" for the latest in output_dir, \"auto\" for the latest that can be read, or the start where there is none.","default":null,"type":["string","boolean","null"],"pattern":"\\S"},"seed":{"description":"Seed of adapters, dropout, random estimators and shuffling.","default":42,"type":"integer","minimum":0,"maximum":4294967295},"data_seed":{"description":"Seed of shuffling alone; seed if not given.","default":null,"type":["integer","null"],"minimum":0,"maximum":4294967295},"bf16":{"description":"Compute in bfloat16, as cuda does by itself; others compute in float32, which the run says.","default":false,"type":"boolean"},"fp16":{"description":"Compute in float16; no backend does, which the run says.","default":false,"type":"boolean"},"base_precision":{"description":"Frozen weights: bf16 as the backend has them; fp8 (E4M3) for products twice as fast on GPUs from Ada and Hopper on; nf4, fp4 as --peft qlora has them.","default":"bf16","type":"string","enum":["bf16","fp8","nf4","fp4"]},"fp8_keep_transposed":{"description":"With base_precision fp8: keep the transposed weights that gradients need, one byte a weight more; faster on Ada, hardly on Hopper.","default":false,"type":"boolean"},"fp8_outlier_channels":{"description":"With base_precision fp8: so many input channels of each layer, those of most energy, are multiplied in twice as many bits; a multiple of 16. If not given 128, with which training loss is 0.8 % above bf16’s instead of 1.3 %; none with shard_base, and on GPUs before Hopper.","default":null,"type":["integer","null"],"minimum":0,"maximum":240},"modules_to_not_convert":{"description":"With frozen weights in fp8, nf4 or fp4: linear layers that stay as the backend has them, by the end of a name (k_proj) or a module around them (model.layers.0).","default":[],"type":["string","array"],"items":{"type":"string"}},"bnb_4bit_quant_type":{"description":"With --peft qlora or qdora: the code book of the frozen weights, as bitsandbytes has it.","default":"nf4","type":"string","enum":["nf4","fp4"]},"bnb_4bit_use_double_quant":{"description":"With weights in 4 bits: their scales in 8 bits too, for 0.37 bits a weight less.","default":false,"type":"boolean"},"bnb_4bit_compute_dtype":{"description":"With weights in 4 bits: what products must be computed in; refused where the backend computes in another. What it computes in if not given.","default":null,"type":["string","null"],"enum":["float32","bfloat16","float16",null]},"bnb_4bit_embeddings":{"description":"With weights in 4 bits: embedding and head in 4 bits too.","default":false,"type":"boolean"},"shared_selection":{"description":"With several ranks: channels are chosen by the tokens of all of them and are the same on each; else each chooses by its own, as the original.","default":false,"type":"boolean"},"shard_base":{"description":"With several ranks: each holds a part of the frozen weights, and layers are gathered ahead of their use; on cuda and blas.","default":false,"type":"boolean"},"gradient_checkpointing":{"description":"Recompute activations in the backward pass: less memory, more time.","default":false,"type":"boolean"},"dataloader_num_workers":{"description":"Workers that prepare batches; batches are prepared in line when 0.","default":0,"type":"integer","minimum":0},"ddp_find_unused_parameters":{"description":"PyTorch's; accepted and without effect.","default":null,"type":["boolean","null"]},"peft":{"description":"Adapter: lora, dora or the name of a registered method; qlora, qdora on frozen weights in 4 bits; \"none\" for none.","default":"lora","type":["string","null"],"pattern":"\\S"},"lora_r":{"description":"Rank of the adapter.","default":32,"type":"integer","minimum":1},"lora_alpha":{"description":"Scale of the adapter: alpha / r, with use_rslora alpha / sqrt(r).","default":64,"type":"number","exclusiveMinimum":0},"lora_dropout":{"description":"Dropout on the input of the adapter.","default":0,"type":"number","minimum":0,"exclusiveMaximum":1},"lora_target_modules":{"description":"Layers that get an adapter, joined by commas: linear layers, lm_head, embed_tokens; \"all-linear\" for all but these two.","default":["q_proj","k_proj","v_proj","o_proj"],"type":["string","array"],"items":{"type":"string"}},"modules_to_save":{"description":"Modules that are trained in full and saved with the adapter, joined by commas: lm_head, embed_tokens.","default":[],"type":["string","array"],"items":{"type":"string"}},"use_rslora":{"description":"Rank-stabilised scaling.","default":false,"type":"boolean"},"spft":{"description":"Sparsity file (configs/sparsity), or auto[:FLOPs] to have one planned; none for dense training.","default":null,"type":["string","null"],"pattern":"\\S"},"spft_mode":{"description":"Who chooses the channels: svd_8, calibrated_8, static, dense, an oracle, or a registered name.","default":null,"type":["string","null"],"pattern":"^[A-Za-z][A-Za-z0-9_.:+-]*$"},"spft_predictor_basepath":{"description":"Directory in which predictors are looked up and stored.","default":null,"type":["string","null"],"pattern":"\\S"},"spft_skip_sink_tokens":{"description":"So many first tokens of a sequence are computed densely.","default":null,"type":["integer","null"],"minimum":0},"spft_skip_output_tokens":{"description":"Tokens with a label are computed densely.","default":null,"type":["boolean","null"]},"spft_skip_tail_tokens":{"description":"So many tokens before each labelled span are computed densely.","default":null,"type":["integer","null"],"minimum":0},"spft_skip_random_tokens":{"description":"Random tokens are computed densely, as many as have labels.","default":null,"type":["boolean","null"]},"spft_start_step":{"description":"Sparsity begins here: up to 1 a fraction of the steps, else a step.","default":null,"type":["number","null"],"minimum":0},"spft_end_step":{"description":"Sparsity ends here: up to 1 a fraction of the steps, else a step.","default":null,"type":["number","null"],"minimum":0},"spft_sparse_lora_branch":{"description":"Adapters skip dropped channels too.","default":null,"type":["boolean","null"]},"spft_qk_per_head":{"description":"Oracles keep the same number of channels in every head.","default":null,"type":["boolean","null"]},"spft_qkvo_seq_avg":{"description":"Average each sequence before estimating q, k, v and o.","default":null,"type":["boolean","null"]},"spft_mlp_seq_avg":{"description":"Average each sequence before estimating the MLP.","default":null,"type":["boolean","null"]},"spft_sparse_output_tokens":{"description":"Fraction of the labelled tokens that is sparse after all; these then have a say in which channels are kept.","default":null,"type":["number","null"],"minimum":0,"maximum":1},"spft_score_tokens":{"description":"So many tokens of each sequence give the scores; 0: all.","default":null,"type":["integer","null"],"minimum":0},"spft_score_context_tokens":{"description":"Scores come from the sparse tokens alone.","default":null,"type":["boolean","null"]},"spft_compensation_rank":{"description":"What dropped MLP channels would have given is replaced by a linear estimate of this rank; 0: by nothing.","default":null,"type":["integer","null"],"minimum":0},"spft_selection_interval":{"description":"Channels are chosen anew every so many steps.","default":null,"type":["integer","null"],"minimum":1},"spft_dense_every":{"description":"Every so many-th step is dense; 0: none.","default":null,"type":["integer","null"],"minimum":0},"spft_gradient":{"description":"Of sparse rows: exact, cut or straight_through.","default":null,"type":["string","null"],"enum":["exact","cut","straight_through",null]},"eval_only":{"description":"Evaluate the adapter in output_dir; do not train.","default":false,"type":"boolean"},"enable_unsloth":{"description":"Upstream's switch for Unsloth: adapters on all seven projections, as it does; the fused functions are always on here.","default":false,"type":"boolean"},"benchmark":{"description":"Measure the speed of steps and stop.","default":false,"type":"boolean"}},"required":[],"additionalProperties":false};
const func2 = Object.prototype.hasOwnProperty;
const pattern0 = new RegExp("\\S", "u");
const pattern13 = new RegExp("^[A-Za-z][A-Za-z0-9_.:+-]*$", "u");

function validate10(data, {instancePath="", parentData, parentDataProperty, rootData=data}={}){
/*# sourceURL="urn:spft:config:train" */;
let vErrors = null;
let errors = 0;
if(data && typeof data == "object" && !Array.isArray(data)){
for(const key0 in data){
if(!(func2.call(schema11.properties, key0))){
const err0 = {instancePath,schemaPath:"#/additionalProperties",keyword:"additionalProperties",params:{additionalProperty: key0},message:"must NOT have additional properties",schema:false,parentSchema:schema11,data};
if(vErrors === null){
vErrors = [err0];
}
else {
vErrors.push(err0);
}
errors++;
}
}
if(data.model_name_or_path !== undefined){
let data0 = data.model_name_or_path;
if((typeof data0 !== "string") && (data0 !== null)){
const err1 = {instancePath:instancePath+"/model_name_or_path",schemaPath:"#/properties/model_name_or_path/type",keyword:"type",params:{type: schema11.properties.model_name_or_path.type},message:"must be string,null",schema:schema11.properties.model_name_or_path.type,parentSchema:schema11.properties.model_name_or_path,data:data0};
if(vErrors === null){
vErrors = [err1];
}
else {
vErrors.push(err1);
}
errors++;
}
if(typeof data0 === "string"){
if(!pattern0.test(data0)){
const err2 = {instancePath:instancePath+"/model_name_or_path",schemaPath:"#/properties/model_name_or_path/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema11.properties.model_name_or_path,data:data0};
if(vErrors === null){
vErrors = [err2];
}
else {
vErrors.push(err2);
}
errors++;
}
}
}
if(data.dataset !== undefined){
let data1 = data.dataset;
if((typeof data1 !== "string") && (data1 !== null)){
const err3 = {instancePath:instancePath+"/dataset",schemaPath:"#/properties/dataset/type",keyword:"type",params:{type: schema11.properties.dataset.type},message:"must be string,null",schema:schema11.properties.dataset.type,parentSchema:schema11.properties.dataset,data:data1};
if(vErrors === null){
vErrors = [err3];
}
else {
vErrors.push(err3);
}
errors++;
}
if(typeof data1 === "string"){
if(!pattern0.test(data1)){
const err4 = {instancePath:instancePath+"/dataset",schemaPath:"#/properties/dataset/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema11.properties.dataset,data:data1};
if(vErrors === null){
vErrors = [err4];
}
else {
vErrors.push(err4);
}
errors++;
}
}
}
if(data.dataset_config !== undefined){
let data2 = data.dataset_config;
if((typeof data2 !== "string") && (data2 !== null)){
const err5 = {instancePath:instancePath+"/dataset_config",schemaPath:"#/properties/dataset_config/type",keyword:"type",params:{type: schema11.properties.dataset_config.type},message:"must be string,null",schema:schema11.properties.dataset_config.type,parentSchema:schema11.properties.dataset_config,data:data2};
if(vErrors === null){
vErrors = [err5];
}
else {
vErrors.push(err5);
}
errors++;
}
if(typeof data2 === "string"){
if(!pattern0.test(data2)){
const err6 = {instancePath:instancePath+"/dataset_config",schemaPath:"#/properties/dataset_config/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema11.properties.dataset_config,data:data2};
if(vErrors === null){
vErrors = [err6];
}
else {
vErrors.push(err6);
}
errors++;
}
}
}
if(data.dataset_revision !== undefined){
let data3 = data.dataset_revision;
if((typeof data3 !== "string") && (data3 !== null)){
const err7 = {instancePath:instancePath+"/dataset_revision",schemaPath:"#/properties/dataset_revision/type",keyword:"type",params:{type: schema11.properties.dataset_revision.type},message:"must be string,null",schema:schema11.properties.dataset_revision.type,parentSchema:schema11.properties.dataset_revision,data:data3};
if(vErrors === null){
vErrors = [err7];
}
else {
vErrors.push(err7);
}
errors++;
}
if(typeof data3 === "string"){
if(!pattern0.test(data3)){
const err8 = {instancePath:instancePath+"/dataset_revision",schemaPath:"#/properties/dataset_revision/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema11.properties.dataset_revision,data:data3};
if(vErrors === null){
vErrors = [err8];
}
else {
vErrors.push(err8);
}
errors++;
}
}
}
if(data.dataset_columns !== undefined){
let data4 = data.dataset_columns;
if((typeof data4 !== "string") && (!(Array.isArray(data4)))){
const err9 = {instancePath:instancePath+"/dataset_columns",schemaPath:"#/properties/dataset_columns/type",keyword:"type",params:{type: schema11.properties.dataset_columns.type},message:"must be string,array",schema:schema11.properties.dataset_columns.type,parentSchema:schema11.properties.dataset_columns,data:data4};
if(vErrors === null){
vErrors = [err9];
}
else {
vErrors.push(err9);
}
errors++;
}
if(Array.isArray(data4)){
const len0 = data4.length;
for(let i0=0; i0<len0; i0++){
let data5 = data4[i0];
if(typeof data5 !== "string"){
const err10 = {instancePath:instancePath+"/dataset_columns/" + i0,schemaPath:"#/properties/dataset_columns/items/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema11.properties.dataset_columns.items.type,parentSchema:schema11.properties.dataset_columns.items,data:data5};
if(vErrors === null){
vErrors = [err10];
}
else {
vErrors.push(err10);
}
errors++;
}
}
}
}
if(data.eval_dataset !== undefined){
let data6 = data.eval_dataset;
if((typeof data6 !== "string") && (data6 !== null)){
const err11 = {instancePath:instancePath+"/eval_dataset",schemaPath:"#/properties/eval_dataset/type",keyword:"type",params:{type: schema11.properties.eval_dataset.type},message:"must be string,null",schema:schema11.properties.eval_dataset.type,parentSchema:schema11.properties.eval_dataset,data:data6};
if(vErrors === null){
vErrors = [err11];
}
else {
vErrors.push(err11);
}
errors++;
}
if(typeof data6 === "string"){
if(!pattern0.test(data6)){
const err12 = {instancePath:instancePath+"/eval_dataset",schemaPath:"#/properties/eval_dataset/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema11.properties.eval_dataset,data:data6};
if(vErrors === null){
vErrors = [err12];
}
else {
vErrors.push(err12);
}
errors++;
}
}
}
if(data.chat_template_format !== undefined){
let data7 = data.chat_template_format;
if((typeof data7 !== "string") && (data7 !== null)){
const err13 = {instancePath:instancePath+"/chat_template_format",schemaPath:"#/properties/chat_template_format/type",keyword:"type",params:{type: schema11.properties.chat_template_format.type},message:"must be string,null",schema:schema11.properties.chat_template_format.type,parentSchema:schema11.properties.chat_template_format,data:data7};
if(vErrors === null){
vErrors = [err13];
}
else {
vErrors.push(err13);
}
errors++;
}
if(typeof data7 === "string"){
if(!pattern0.test(data7)){
const err14 = {instancePath:instancePath+"/chat_template_format",schemaPath:"#/properties/chat_template_format/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema11.properties.chat_template_format,data:data7};
if(vErrors === null){
vErrors = [err14];
}
else {
vErrors.push(err14);
}
errors++;
}
}
}
if(data.model_max_length !== undefined){
let data8 = data.model_max_length;
if(!(((typeof data8 == "number") && (!(data8 % 1) && !isNaN(data8))) && (isFinite(data8)))){
const err15 = {instancePath:instancePath+"/model_max_length",schemaPath:"#/properties/model_max_length/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema11.properties.model_max_length.type,parentSchema:schema11.properties.model_max_length,data:data8};
if(vErrors === null){
vErrors = [err15];
}
else {
vErrors.push(err15);
}
errors++;
}
if((typeof data8 == "number") && (isFinite(data8))){
if(data8 < 1 || isNaN(data8)){
const err16 = {instancePath:instancePath+"/model_max_length",schemaPath:"#/properties/model_max_length/minimum",keyword:"minimum",params:{comparison: ">=", limit: 1},message:"must be >= 1",schema:1,parentSchema:schema11.properties.model_max_length,data:data8};
if(vErrors === null){
vErrors = [err16];
}
else {
vErrors.push(err16);
}
errors++;
}
}
}
if(data.max_seq_length !== undefined){
let data9 = data.max_seq_length;
if(!(((typeof data9 == "number") && (!(data9 % 1) && !isNaN(data9))) && (isFinite(data9)))){
const err17 = {instancePath:instancePath+"/max_seq_length",schemaPath:"#/properties/max_seq_length/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema11.properties.max_seq_length.type,parentSchema:schema11.properties.max_seq_length,data:data9};
if(vErrors === null){
vErrors = [err17];
}
else {
vErrors.push(err17);
}
errors++;
}
if((typeof data9 == "number") && (isFinite(data9))){
if(data9 < 1 || isNaN(data9)){
const err18 = {instancePath:instancePath+"/max_seq_length",schemaPath:"#/properties/max_seq_length/minimum",keyword:"minimum",params:{comparison: ">=", limit: 1},message:"must be >= 1",schema:1,parentSchema:schema11.properties.max_seq_length,data:data9};
if(vErrors === null){
vErrors = [err18];
}
else {
vErrors.push(err18);
}
errors++;
}
}
}
if(data.append_concat_token !== undefined){
let data10 = data.append_concat_token;
if(typeof data10 !== "boolean"){
const err19 = {instancePath:instancePath+"/append_concat_token",schemaPath:"#/properties/append_concat_token/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.append_concat_token.type,parentSchema:schema11.properties.append_concat_token,data:data10};
if(vErrors === null){
vErrors = [err19];
}
else {
vErrors.push(err19);
}
errors++;
}
}
if(data.add_special_tokens !== undefined){
let data11 = data.add_special_tokens;
if(typeof data11 !== "boolean"){
const err20 = {instancePath:instancePath+"/add_special_tokens",schemaPath:"#/properties/add_special_tokens/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.add_special_tokens.type,parentSchema:schema11.properties.add_special_tokens,data:data11};
if(vErrors === null){
vErrors = [err20];
}
else {
vErrors.push(err20);
}
errors++;
}
}
if(data.splits !== undefined){
let data12 = data.splits;
if((typeof data12 !== "string") && (!(Array.isArray(data12)))){
const err21 = {instancePath:instancePath+"/splits",schemaPath:"#/properties/splits/type",keyword:"type",params:{type: schema11.properties.splits.type},message:"must be string,array",schema:schema11.properties.splits.type,parentSchema:schema11.properties.splits,data:data12};
if(vErrors === null){
vErrors = [err21];
}
else {
vErrors.push(err21);
}
errors++;
}
if(Array.isArray(data12)){
const len1 = data12.length;
for(let i1=0; i1<len1; i1++){
let data13 = data12[i1];
if(typeof data13 !== "string"){
const err22 = {instancePath:instancePath+"/splits/" + i1,schemaPath:"#/properties/splits/items/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema11.properties.splits.items.type,parentSchema:schema11.properties.splits.items,data:data13};
if(vErrors === null){
vErrors = [err22];
}
else {
vErrors.push(err22);
}
errors++;
}
}
}
}
if(data.packing !== undefined){
let data14 = data.packing;
if(typeof data14 !== "boolean"){
const err23 = {instancePath:instancePath+"/packing",schemaPath:"#/properties/packing/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.packing.type,parentSchema:schema11.properties.packing,data:data14};
if(vErrors === null){
vErrors = [err23];
}
else {
vErrors.push(err23);
}
errors++;
}
}
if(data.dataset_text_field !== undefined){
let data15 = data.dataset_text_field;
if((typeof data15 !== "string") && (data15 !== null)){
const err24 = {instancePath:instancePath+"/dataset_text_field",schemaPath:"#/properties/dataset_text_field/type",keyword:"type",params:{type: schema11.properties.dataset_text_field.type},message:"must be string,null",schema:schema11.properties.dataset_text_field.type,parentSchema:schema11.properties.dataset_text_field,data:data15};
if(vErrors === null){
vErrors = [err24];
}
else {
vErrors.push(err24);
}
errors++;
}
if(typeof data15 === "string"){
if(!pattern0.test(data15)){
const err25 = {instancePath:instancePath+"/dataset_text_field",schemaPath:"#/properties/dataset_text_field/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema11.properties.dataset_text_field,data:data15};
if(vErrors === null){
vErrors = [err25];
}
else {
vErrors.push(err25);
}
errors++;
}
}
}
if(data.skip_bad_rows !== undefined){
let data16 = data.skip_bad_rows;
if(typeof data16 !== "boolean"){
const err26 = {instancePath:instancePath+"/skip_bad_rows",schemaPath:"#/properties/skip_bad_rows/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.skip_bad_rows.type,parentSchema:schema11.properties.skip_bad_rows,data:data16};
if(vErrors === null){
vErrors = [err26];
}
else {
vErrors.push(err26);
}
errors++;
}
}
if(data.num_train_epochs !== undefined){
let data17 = data.num_train_epochs;
if((typeof data17 == "number") && (isFinite(data17))){
if(data17 <= 0 || isNaN(data17)){
const err27 = {instancePath:instancePath+"/num_train_epochs",schemaPath:"#/properties/num_train_epochs/exclusiveMinimum",keyword:"exclusiveMinimum",params:{comparison: ">", limit: 0},message:"must be > 0",schema:0,parentSchema:schema11.properties.num_train_epochs,data:data17};
if(vErrors === null){
vErrors = [err27];
}
else {
vErrors.push(err27);
}
errors++;
}
}
else {
const err28 = {instancePath:instancePath+"/num_train_epochs",schemaPath:"#/properties/num_train_epochs/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema11.properties.num_train_epochs.type,parentSchema:schema11.properties.num_train_epochs,data:data17};
if(vErrors === null){
vErrors = [err28];
}
else {
vErrors.push(err28);
}
errors++;
}
}
if(data.max_steps !== undefined){
let data18 = data.max_steps;
if(!(((typeof data18 == "number") && (!(data18 % 1) && !isNaN(data18))) && (isFinite(data18)))){
const err29 = {instancePath:instancePath+"/max_steps",schemaPath:"#/properties/max_steps/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema11.properties.max_steps.type,parentSchema:schema11.properties.max_steps,data:data18};
if(vErrors === null){
vErrors = [err29];
}
else {
vErrors.push(err29);
}
errors++;
}
if((typeof data18 == "number") && (isFinite(data18))){
if(data18 < -1 || isNaN(data18)){
const err30 = {instancePath:instancePath+"/max_steps",schemaPath:"#/properties/max_steps/minimum",keyword:"minimum",params:{comparison: ">=", limit: -1},message:"must be >= -1",schema:-1,parentSchema:schema11.properties.max_steps,data:data18};
if(vErrors === null){
vErrors = [err30];
}
else {
vErrors.push(err30);
}
errors++;
}
}
}
if(data.per_device_train_batch_size !== undefined){
let data19 = data.per_device_train_batch_size;
if(!(((typeof data19 == "number") && (!(data19 % 1) && !isNaN(data19))) && (isFinite(data19)))){
const err31 = {instancePath:instancePath+"/per_device_train_batch_size",schemaPath:"#/properties/per_device_train_batch_size/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema11.properties.per_device_train_batch_size.type,parentSchema:schema11.properties.per_device_train_batch_size,data:data19};
if(vErrors === null){
vErrors = [err31];
}
else {
vErrors.push(err31);
}
errors++;
}
if((typeof data19 == "number") && (isFinite(data19))){
if(data19 < 1 || isNaN(data19)){
const err32 = {instancePath:instancePath+"/per_device_train_batch_size",schemaPath:"#/properties/per_device_train_batch_size/minimum",keyword:"minimum",params:{comparison: ">=", limit: 1},message:"must be >= 1",schema:1,parentSchema:schema11.properties.per_device_train_batch_size,data:data19};
if(vErrors === null){
vErrors = [err32];
}
else {
vErrors.push(err32);
}
errors++;
}
}
}
if(data.per_device_eval_batch_size !== undefined){
let data20 = data.per_device_eval_batch_size;
if(!(((typeof data20 == "number") && (!(data20 % 1) && !isNaN(data20))) && (isFinite(data20)))){
const err33 = {instancePath:instancePath+"/per_device_eval_batch_size",schemaPath:"#/properties/per_device_eval_batch_size/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema11.properties.per_device_eval_batch_size.type,parentSchema:schema11.properties.per_device_eval_batch_size,data:data20};
if(vErrors === null){
vErrors = [err33];
}
else {
vErrors.push(err33);
}
errors++;
}
if((typeof data20 == "number") && (isFinite(data20))){
if(data20 < 1 || isNaN(data20)){
const err34 = {instancePath:instancePath+"/per_device_eval_batch_size",schemaPath:"#/properties/per_device_eval_batch_size/minimum",keyword:"minimum",params:{comparison: ">=", limit: 1},message:"must be >= 1",schema:1,parentSchema:schema11.properties.per_device_eval_batch_size,data:data20};
if(vErrors === null){
vErrors = [err34];
}
else {
vErrors.push(err34);
}
errors++;
}
}
}
if(data.gradient_accumulation_steps !== undefined){
let data21 = data.gradient_accumulation_steps;
if(!(((typeof data21 == "number") && (!(data21 % 1) && !isNaN(data21))) && (isFinite(data21)))){
const err35 = {instancePath:instancePath+"/gradient_accumulation_steps",schemaPath:"#/properties/gradient_accumulation_steps/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema11.properties.gradient_accumulation_steps.type,parentSchema:schema11.properties.gradient_accumulation_steps,data:data21};
if(vErrors === null){
vErrors = [err35];
}
else {
vErrors.push(err35);
}
errors++;
}
if((typeof data21 == "number") && (isFinite(data21))){
if(data21 < 1 || isNaN(data21)){
const err36 = {instancePath:instancePath+"/gradient_accumulation_steps",schemaPath:"#/properties/gradient_accumulation_steps/minimum",keyword:"minimum",params:{comparison: ">=", limit: 1},message:"must be >= 1",schema:1,parentSchema:schema11.properties.gradient_accumulation_steps,data:data21};
if(vErrors === null){
vErrors = [err36];
}
else {
vErrors.push(err36);
}
errors++;
}
}
}
if(data.group_by_length !== undefined){
let data22 = data.group_by_length;
if(typeof data22 !== "boolean"){
const err37 = {instancePath:instancePath+"/group_by_length",schemaPath:"#/properties/group_by_length/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.group_by_length.type,parentSchema:schema11.properties.group_by_length,data:data22};
if(vErrors === null){
vErrors = [err37];
}
else {
vErrors.push(err37);
}
errors++;
}
}
if(data.dataloader_drop_last !== undefined){
let data23 = data.dataloader_drop_last;
if(typeof data23 !== "boolean"){
const err38 = {instancePath:instancePath+"/dataloader_drop_last",schemaPath:"#/properties/dataloader_drop_last/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.dataloader_drop_last.type,parentSchema:schema11.properties.dataloader_drop_last,data:data23};
if(vErrors === null){
vErrors = [err38];
}
else {
vErrors.push(err38);
}
errors++;
}
}
if(data.optim !== undefined){
let data24 = data.optim;
if(typeof data24 !== "string"){
const err39 = {instancePath:instancePath+"/optim",schemaPath:"#/properties/optim/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema11.properties.optim.type,parentSchema:schema11.properties.optim,data:data24};
if(vErrors === null){
vErrors = [err39];
}
else {
vErrors.push(err39);
}
errors++;
}
if(!((((((((((data24 === "adamw_torch") || (data24 === "adamw_torch_fused")) || (data24 === "adamw_hf")) || (data24 === "adamw")) || (data24 === "sgd")) || (data24 === "lion")) || (data24 === "adafactor")) || (data24 === "adamw_8bit")) || (data24 === "adamw_bnb_8bit")) || (data24 === "paged_adamw_8bit"))){
const err40 = {instancePath:instancePath+"/optim",schemaPath:"#/properties/optim/enum",keyword:"enum",params:{allowedValues: schema11.properties.optim.enum},message:"must be equal to one of the allowed values",schema:schema11.properties.optim.enum,parentSchema:schema11.properties.optim,data:data24};
if(vErrors === null){
vErrors = [err40];
}
else {
vErrors.push(err40);
}
errors++;
}
}
if(data.learning_rate !== undefined){
let data25 = data.learning_rate;
if((typeof data25 == "number") && (isFinite(data25))){
if(data25 < 0 || isNaN(data25)){
const err41 = {instancePath:instancePath+"/learning_rate",schemaPath:"#/properties/learning_rate/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.learning_rate,data:data25};
if(vErrors === null){
vErrors = [err41];
}
else {
vErrors.push(err41);
}
errors++;
}
}
else {
const err42 = {instancePath:instancePath+"/learning_rate",schemaPath:"#/properties/learning_rate/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema11.properties.learning_rate.type,parentSchema:schema11.properties.learning_rate,data:data25};
if(vErrors === null){
vErrors = [err42];
}
else {
vErrors.push(err42);
}
errors++;
}
}
if(data.weight_decay !== undefined){
let data26 = data.weight_decay;
if((typeof data26 == "number") && (isFinite(data26))){
if(data26 < 0 || isNaN(data26)){
const err43 = {instancePath:instancePath+"/weight_decay",schemaPath:"#/properties/weight_decay/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.weight_decay,data:data26};
if(vErrors === null){
vErrors = [err43];
}
else {
vErrors.push(err43);
}
errors++;
}
}
else {
const err44 = {instancePath:instancePath+"/weight_decay",schemaPath:"#/properties/weight_decay/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema11.properties.weight_decay.type,parentSchema:schema11.properties.weight_decay,data:data26};
if(vErrors === null){
vErrors = [err44];
}
else {
vErrors.push(err44);
}
errors++;
}
}
if(data.adam_beta1 !== undefined){
let data27 = data.adam_beta1;
if((typeof data27 == "number") && (isFinite(data27))){
if(data27 < 0 || isNaN(data27)){
const err45 = {instancePath:instancePath+"/adam_beta1",schemaPath:"#/properties/adam_beta1/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.adam_beta1,data:data27};
if(vErrors === null){
vErrors = [err45];
}
else {
vErrors.push(err45);
}
errors++;
}
if(data27 >= 1 || isNaN(data27)){
const err46 = {instancePath:instancePath+"/adam_beta1",schemaPath:"#/properties/adam_beta1/exclusiveMaximum",keyword:"exclusiveMaximum",params:{comparison: "<", limit: 1},message:"must be < 1",schema:1,parentSchema:schema11.properties.adam_beta1,data:data27};
if(vErrors === null){
vErrors = [err46];
}
else {
vErrors.push(err46);
}
errors++;
}
}
else {
const err47 = {instancePath:instancePath+"/adam_beta1",schemaPath:"#/properties/adam_beta1/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema11.properties.adam_beta1.type,parentSchema:schema11.properties.adam_beta1,data:data27};
if(vErrors === null){
vErrors = [err47];
}
else {
vErrors.push(err47);
}
errors++;
}
}
if(data.adam_beta2 !== undefined){
let data28 = data.adam_beta2;
if((typeof data28 == "number") && (isFinite(data28))){
if(data28 < 0 || isNaN(data28)){
const err48 = {instancePath:instancePath+"/adam_beta2",schemaPath:"#/properties/adam_beta2/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.adam_beta2,data:data28};
if(vErrors === null){
vErrors = [err48];
}
else {
vErrors.push(err48);
}
errors++;
}
if(data28 >= 1 || isNaN(data28)){
const err49 = {instancePath:instancePath+"/adam_beta2",schemaPath:"#/properties/adam_beta2/exclusiveMaximum",keyword:"exclusiveMaximum",params:{comparison: "<", limit: 1},message:"must be < 1",schema:1,parentSchema:schema11.properties.adam_beta2,data:data28};
if(vErrors === null){
vErrors = [err49];
}
else {
vErrors.push(err49);
}
errors++;
}
}
else {
const err50 = {instancePath:instancePath+"/adam_beta2",schemaPath:"#/properties/adam_beta2/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema11.properties.adam_beta2.type,parentSchema:schema11.properties.adam_beta2,data:data28};
if(vErrors === null){
vErrors = [err50];
}
else {
vErrors.push(err50);
}
errors++;
}
}
if(data.adam_epsilon !== undefined){
let data29 = data.adam_epsilon;
if((typeof data29 == "number") && (isFinite(data29))){
if(data29 <= 0 || isNaN(data29)){
const err51 = {instancePath:instancePath+"/adam_epsilon",schemaPath:"#/properties/adam_epsilon/exclusiveMinimum",keyword:"exclusiveMinimum",params:{comparison: ">", limit: 0},message:"must be > 0",schema:0,parentSchema:schema11.properties.adam_epsilon,data:data29};
if(vErrors === null){
vErrors = [err51];
}
else {
vErrors.push(err51);
}
errors++;
}
}
else {
const err52 = {instancePath:instancePath+"/adam_epsilon",schemaPath:"#/properties/adam_epsilon/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema11.properties.adam_epsilon.type,parentSchema:schema11.properties.adam_epsilon,data:data29};
if(vErrors === null){
vErrors = [err52];
}
else {
vErrors.push(err52);
}
errors++;
}
}
if(data.momentum !== undefined){
let data30 = data.momentum;
if((typeof data30 == "number") && (isFinite(data30))){
if(data30 < 0 || isNaN(data30)){
const err53 = {instancePath:instancePath+"/momentum",schemaPath:"#/properties/momentum/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.momentum,data:data30};
if(vErrors === null){
vErrors = [err53];
}
else {
vErrors.push(err53);
}
errors++;
}
if(data30 >= 1 || isNaN(data30)){
const err54 = {instancePath:instancePath+"/momentum",schemaPath:"#/properties/momentum/exclusiveMaximum",keyword:"exclusiveMaximum",params:{comparison: "<", limit: 1},message:"must be < 1",schema:1,parentSchema:schema11.properties.momentum,data:data30};
if(vErrors === null){
vErrors = [err54];
}
else {
vErrors.push(err54);
}
errors++;
}
}
else {
const err55 = {instancePath:instancePath+"/momentum",schemaPath:"#/properties/momentum/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema11.properties.momentum.type,parentSchema:schema11.properties.momentum,data:data30};
if(vErrors === null){
vErrors = [err55];
}
else {
vErrors.push(err55);
}
errors++;
}
}
if(data.max_grad_norm !== undefined){
let data31 = data.max_grad_norm;
if((typeof data31 == "number") && (isFinite(data31))){
if(data31 < 0 || isNaN(data31)){
const err56 = {instancePath:instancePath+"/max_grad_norm",schemaPath:"#/properties/max_grad_norm/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.max_grad_norm,data:data31};
if(vErrors === null){
vErrors = [err56];
}
else {
vErrors.push(err56);
}
errors++;
}
}
else {
const err57 = {instancePath:instancePath+"/max_grad_norm",schemaPath:"#/properties/max_grad_norm/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema11.properties.max_grad_norm.type,parentSchema:schema11.properties.max_grad_norm,data:data31};
if(vErrors === null){
vErrors = [err57];
}
else {
vErrors.push(err57);
}
errors++;
}
}
if(data.lr_scheduler_type !== undefined){
let data32 = data.lr_scheduler_type;
if(typeof data32 !== "string"){
const err58 = {instancePath:instancePath+"/lr_scheduler_type",schemaPath:"#/properties/lr_scheduler_type/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema11.properties.lr_scheduler_type.type,parentSchema:schema11.properties.lr_scheduler_type,data:data32};
if(vErrors === null){
vErrors = [err58];
}
else {
vErrors.push(err58);
}
errors++;
}
if(!((((((((data32 === "linear") || (data32 === "cosine")) || (data32 === "constant")) || (data32 === "constant_with_warmup")) || (data32 === "cosine_with_restarts")) || (data32 === "polynomial")) || (data32 === "inverse_sqrt")) || (data32 === "warmup_stable_decay"))){
const err59 = {instancePath:instancePath+"/lr_scheduler_type",schemaPath:"#/properties/lr_scheduler_type/enum",keyword:"enum",params:{allowedValues: schema11.properties.lr_scheduler_type.enum},message:"must be equal to one of the allowed values",schema:schema11.properties.lr_scheduler_type.enum,parentSchema:schema11.properties.lr_scheduler_type,data:data32};
if(vErrors === null){
vErrors = [err59];
}
else {
vErrors.push(err59);
}
errors++;
}
}
if(data.lr_scheduler_kwargs !== undefined){
let data33 = data.lr_scheduler_kwargs;
if((typeof data33 !== "string") && (!(Array.isArray(data33)))){
const err60 = {instancePath:instancePath+"/lr_scheduler_kwargs",schemaPath:"#/properties/lr_scheduler_kwargs/type",keyword:"type",params:{type: schema11.properties.lr_scheduler_kwargs.type},message:"must be string,array",schema:schema11.properties.lr_scheduler_kwargs.type,parentSchema:schema11.properties.lr_scheduler_kwargs,data:data33};
if(vErrors === null){
vErrors = [err60];
}
else {
vErrors.push(err60);
}
errors++;
}
if(Array.isArray(data33)){
const len2 = data33.length;
for(let i2=0; i2<len2; i2++){
let data34 = data33[i2];
if(typeof data34 !== "string"){
const err61 = {instancePath:instancePath+"/lr_scheduler_kwargs/" + i2,schemaPath:"#/properties/lr_scheduler_kwargs/items/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema11.properties.lr_scheduler_kwargs.items.type,parentSchema:schema11.properties.lr_scheduler_kwargs.items,data:data34};
if(vErrors === null){
vErrors = [err61];
}
else {
vErrors.push(err61);
}
errors++;
}
}
}
}
if(data.label_smoothing_factor !== undefined){
let data35 = data.label_smoothing_factor;
if((typeof data35 == "number") && (isFinite(data35))){
if(data35 < 0 || isNaN(data35)){
const err62 = {instancePath:instancePath+"/label_smoothing_factor",schemaPath:"#/properties/label_smoothing_factor/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.label_smoothing_factor,data:data35};
if(vErrors === null){
vErrors = [err62];
}
else {
vErrors.push(err62);
}
errors++;
}
if(data35 >= 1 || isNaN(data35)){
const err63 = {instancePath:instancePath+"/label_smoothing_factor",schemaPath:"#/properties/label_smoothing_factor/exclusiveMaximum",keyword:"exclusiveMaximum",params:{comparison: "<", limit: 1},message:"must be < 1",schema:1,parentSchema:schema11.properties.label_smoothing_factor,data:data35};
if(vErrors === null){
vErrors = [err63];
}
else {
vErrors.push(err63);
}
errors++;
}
}
else {
const err64 = {instancePath:instancePath+"/label_smoothing_factor",schemaPath:"#/properties/label_smoothing_factor/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema11.properties.label_smoothing_factor.type,parentSchema:schema11.properties.label_smoothing_factor,data:data35};
if(vErrors === null){
vErrors = [err64];
}
else {
vErrors.push(err64);
}
errors++;
}
}
if(data.neftune_noise_alpha !== undefined){
let data36 = data.neftune_noise_alpha;
if((!((typeof data36 == "number") && (isFinite(data36)))) && (data36 !== null)){
const err65 = {instancePath:instancePath+"/neftune_noise_alpha",schemaPath:"#/properties/neftune_noise_alpha/type",keyword:"type",params:{type: schema11.properties.neftune_noise_alpha.type},message:"must be number,null",schema:schema11.properties.neftune_noise_alpha.type,parentSchema:schema11.properties.neftune_noise_alpha,data:data36};
if(vErrors === null){
vErrors = [err65];
}
else {
vErrors.push(err65);
}
errors++;
}
if((typeof data36 == "number") && (isFinite(data36))){
if(data36 <= 0 || isNaN(data36)){
const err66 = {instancePath:instancePath+"/neftune_noise_alpha",schemaPath:"#/properties/neftune_noise_alpha/exclusiveMinimum",keyword:"exclusiveMinimum",params:{comparison: ">", limit: 0},message:"must be > 0",schema:0,parentSchema:schema11.properties.neftune_noise_alpha,data:data36};
if(vErrors === null){
vErrors = [err66];
}
else {
vErrors.push(err66);
}
errors++;
}
}
}
if(data.warmup_ratio !== undefined){
let data37 = data.warmup_ratio;
if((typeof data37 == "number") && (isFinite(data37))){
if(data37 > 1 || isNaN(data37)){
const err67 = {instancePath:instancePath+"/warmup_ratio",schemaPath:"#/properties/warmup_ratio/maximum",keyword:"maximum",params:{comparison: "<=", limit: 1},message:"must be <= 1",schema:1,parentSchema:schema11.properties.warmup_ratio,data:data37};
if(vErrors === null){
vErrors = [err67];
}
else {
vErrors.push(err67);
}
errors++;
}
if(data37 < 0 || isNaN(data37)){
const err68 = {instancePath:instancePath+"/warmup_ratio",schemaPath:"#/properties/warmup_ratio/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.warmup_ratio,data:data37};
if(vErrors === null){
vErrors = [err68];
}
else {
vErrors.push(err68);
}
errors++;
}
}
else {
const err69 = {instancePath:instancePath+"/warmup_ratio",schemaPath:"#/properties/warmup_ratio/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema11.properties.warmup_ratio.type,parentSchema:schema11.properties.warmup_ratio,data:data37};
if(vErrors === null){
vErrors = [err69];
}
else {
vErrors.push(err69);
}
errors++;
}
}
if(data.warmup_steps !== undefined){
let data38 = data.warmup_steps;
if(!(((typeof data38 == "number") && (!(data38 % 1) && !isNaN(data38))) && (isFinite(data38)))){
const err70 = {instancePath:instancePath+"/warmup_steps",schemaPath:"#/properties/warmup_steps/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema11.properties.warmup_steps.type,parentSchema:schema11.properties.warmup_steps,data:data38};
if(vErrors === null){
vErrors = [err70];
}
else {
vErrors.push(err70);
}
errors++;
}
if((typeof data38 == "number") && (isFinite(data38))){
if(data38 < 0 || isNaN(data38)){
const err71 = {instancePath:instancePath+"/warmup_steps",schemaPath:"#/properties/warmup_steps/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.warmup_steps,data:data38};
if(vErrors === null){
vErrors = [err71];
}
else {
vErrors.push(err71);
}
errors++;
}
}
}
if(data.output_dir !== undefined){
let data39 = data.output_dir;
if(typeof data39 === "string"){
if(!pattern0.test(data39)){
const err72 = {instancePath:instancePath+"/output_dir",schemaPath:"#/properties/output_dir/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema11.properties.output_dir,data:data39};
if(vErrors === null){
vErrors = [err72];
}
else {
vErrors.push(err72);
}
errors++;
}
}
else {
const err73 = {instancePath:instancePath+"/output_dir",schemaPath:"#/properties/output_dir/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema11.properties.output_dir.type,parentSchema:schema11.properties.output_dir,data:data39};
if(vErrors === null){
vErrors = [err73];
}
else {
vErrors.push(err73);
}
errors++;
}
}
if(data.run_name !== undefined){
let data40 = data.run_name;
if((typeof data40 !== "string") && (data40 !== null)){
const err74 = {instancePath:instancePath+"/run_name",schemaPath:"#/properties/run_name/type",keyword:"type",params:{type: schema11.properties.run_name.type},message:"must be string,null",schema:schema11.properties.run_name.type,parentSchema:schema11.properties.run_name,data:data40};
if(vErrors === null){
vErrors = [err74];
}
else {
vErrors.push(err74);
}
errors++;
}
if(typeof data40 === "string"){
if(!pattern0.test(data40)){
const err75 = {instancePath:instancePath+"/run_name",schemaPath:"#/properties/run_name/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema11.properties.run_name,data:data40};
if(vErrors === null){
vErrors = [err75];
}
else {
vErrors.push(err75);
}
errors++;
}
}
}
if(data.report_to !== undefined){
let data41 = data.report_to;
if((typeof data41 !== "string") && (!(Array.isArray(data41)))){
const err76 = {instancePath:instancePath+"/report_to",schemaPath:"#/properties/report_to/type",keyword:"type",params:{type: schema11.properties.report_to.type},message:"must be string,array",schema:schema11.properties.report_to.type,parentSchema:schema11.properties.report_to,data:data41};
if(vErrors === null){
vErrors = [err76];
}
else {
vErrors.push(err76);
}
errors++;
}
if(Array.isArray(data41)){
const len3 = data41.length;
for(let i3=0; i3<len3; i3++){
let data42 = data41[i3];
if(typeof data42 !== "string"){
const err77 = {instancePath:instancePath+"/report_to/" + i3,schemaPath:"#/properties/report_to/items/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema11.properties.report_to.items.type,parentSchema:schema11.properties.report_to.items,data:data42};
if(vErrors === null){
vErrors = [err77];
}
else {
vErrors.push(err77);
}
errors++;
}
if(!((((((data42 === "none") || (data42 === "all")) || (data42 === "jsonl")) || (data42 === "html")) || (data42 === "tensorboard")) || (data42 === "wandb"))){
const err78 = {instancePath:instancePath+"/report_to/" + i3,schemaPath:"#/properties/report_to/items/enum",keyword:"enum",params:{allowedValues: schema11.properties.report_to.items.enum},message:"must be equal to one of the allowed values",schema:schema11.properties.report_to.items.enum,parentSchema:schema11.properties.report_to.items,data:data42};
if(vErrors === null){
vErrors = [err78];
}
else {
vErrors.push(err78);
}
errors++;
}
}
}
}
if(data.logging_strategy !== undefined){
let data43 = data.logging_strategy;
if(typeof data43 !== "string"){
const err79 = {instancePath:instancePath+"/logging_strategy",schemaPath:"#/properties/logging_strategy/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema11.properties.logging_strategy.type,parentSchema:schema11.properties.logging_strategy,data:data43};
if(vErrors === null){
vErrors = [err79];
}
else {
vErrors.push(err79);
}
errors++;
}
if(!(((data43 === "no") || (data43 === "steps")) || (data43 === "epoch"))){
const err80 = {instancePath:instancePath+"/logging_strategy",schemaPath:"#/properties/logging_strategy/enum",keyword:"enum",params:{allowedValues: schema11.properties.logging_strategy.enum},message:"must be equal to one of the allowed values",schema:schema11.properties.logging_strategy.enum,parentSchema:schema11.properties.logging_strategy,data:data43};
if(vErrors === null){
vErrors = [err80];
}
else {
vErrors.push(err80);
}
errors++;
}
}
if(data.logging_steps !== undefined){
let data44 = data.logging_steps;
if((!((typeof data44 == "number") && (isFinite(data44)))) && (data44 !== null)){
const err81 = {instancePath:instancePath+"/logging_steps",schemaPath:"#/properties/logging_steps/type",keyword:"type",params:{type: schema11.properties.logging_steps.type},message:"must be number,null",schema:schema11.properties.logging_steps.type,parentSchema:schema11.properties.logging_steps,data:data44};
if(vErrors === null){
vErrors = [err81];
}
else {
vErrors.push(err81);
}
errors++;
}
if((typeof data44 == "number") && (isFinite(data44))){
if(data44 <= 0 || isNaN(data44)){
const err82 = {instancePath:instancePath+"/logging_steps",schemaPath:"#/properties/logging_steps/exclusiveMinimum",keyword:"exclusiveMinimum",params:{comparison: ">", limit: 0},message:"must be > 0",schema:0,parentSchema:schema11.properties.logging_steps,data:data44};
if(vErrors === null){
vErrors = [err82];
}
else {
vErrors.push(err82);
}
errors++;
}
}
}
if(data.logging_first_step !== undefined){
let data45 = data.logging_first_step;
if(typeof data45 !== "boolean"){
const err83 = {instancePath:instancePath+"/logging_first_step",schemaPath:"#/properties/logging_first_step/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.logging_first_step.type,parentSchema:schema11.properties.logging_first_step,data:data45};
if(vErrors === null){
vErrors = [err83];
}
else {
vErrors.push(err83);
}
errors++;
}
}
if(data.eval_strategy !== undefined){
let data46 = data.eval_strategy;
if(typeof data46 !== "string"){
const err84 = {instancePath:instancePath+"/eval_strategy",schemaPath:"#/properties/eval_strategy/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema11.properties.eval_strategy.type,parentSchema:schema11.properties.eval_strategy,data:data46};
if(vErrors === null){
vErrors = [err84];
}
else {
vErrors.push(err84);
}
errors++;
}
if(!(((data46 === "no") || (data46 === "steps")) || (data46 === "epoch"))){
const err85 = {instancePath:instancePath+"/eval_strategy",schemaPath:"#/properties/eval_strategy/enum",keyword:"enum",params:{allowedValues: schema11.properties.eval_strategy.enum},message:"must be equal to one of the allowed values",schema:schema11.properties.eval_strategy.enum,parentSchema:schema11.properties.eval_strategy,data:data46};
if(vErrors === null){
vErrors = [err85];
}
else {
vErrors.push(err85);
}
errors++;
}
}
if(data.eval_steps !== undefined){
let data47 = data.eval_steps;
if((!((typeof data47 == "number") && (isFinite(data47)))) && (data47 !== null)){
const err86 = {instancePath:instancePath+"/eval_steps",schemaPath:"#/properties/eval_steps/type",keyword:"type",params:{type: schema11.properties.eval_steps.type},message:"must be number,null",schema:schema11.properties.eval_steps.type,parentSchema:schema11.properties.eval_steps,data:data47};
if(vErrors === null){
vErrors = [err86];
}
else {
vErrors.push(err86);
}
errors++;
}
if((typeof data47 == "number") && (isFinite(data47))){
if(data47 <= 0 || isNaN(data47)){
const err87 = {instancePath:instancePath+"/eval_steps",schemaPath:"#/properties/eval_steps/exclusiveMinimum",keyword:"exclusiveMinimum",params:{comparison: ">", limit: 0},message:"must be > 0",schema:0,parentSchema:schema11.properties.eval_steps,data:data47};
if(vErrors === null){
vErrors = [err87];
}
else {
vErrors.push(err87);
}
errors++;
}
}
}
if(data.eval_on_start !== undefined){
let data48 = data.eval_on_start;
if(typeof data48 !== "boolean"){
const err88 = {instancePath:instancePath+"/eval_on_start",schemaPath:"#/properties/eval_on_start/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.eval_on_start.type,parentSchema:schema11.properties.eval_on_start,data:data48};
if(vErrors === null){
vErrors = [err88];
}
else {
vErrors.push(err88);
}
errors++;
}
}
if(data.save_strategy !== undefined){
let data49 = data.save_strategy;
if(typeof data49 !== "string"){
const err89 = {instancePath:instancePath+"/save_strategy",schemaPath:"#/properties/save_strategy/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema11.properties.save_strategy.type,parentSchema:schema11.properties.save_strategy,data:data49};
if(vErrors === null){
vErrors = [err89];
}
else {
vErrors.push(err89);
}
errors++;
}
if(!(((data49 === "no") || (data49 === "steps")) || (data49 === "epoch"))){
const err90 = {instancePath:instancePath+"/save_strategy",schemaPath:"#/properties/save_strategy/enum",keyword:"enum",params:{allowedValues: schema11.properties.save_strategy.enum},message:"must be equal to one of the allowed values",schema:schema11.properties.save_strategy.enum,parentSchema:schema11.properties.save_strategy,data:data49};
if(vErrors === null){
vErrors = [err90];
}
else {
vErrors.push(err90);
}
errors++;
}
}
if(data.save_steps !== undefined){
let data50 = data.save_steps;
if((typeof data50 == "number") && (isFinite(data50))){
if(data50 <= 0 || isNaN(data50)){
const err91 = {instancePath:instancePath+"/save_steps",schemaPath:"#/properties/save_steps/exclusiveMinimum",keyword:"exclusiveMinimum",params:{comparison: ">", limit: 0},message:"must be > 0",schema:0,parentSchema:schema11.properties.save_steps,data:data50};
if(vErrors === null){
vErrors = [err91];
}
else {
vErrors.push(err91);
}
errors++;
}
}
else {
const err92 = {instancePath:instancePath+"/save_steps",schemaPath:"#/properties/save_steps/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema11.properties.save_steps.type,parentSchema:schema11.properties.save_steps,data:data50};
if(vErrors === null){
vErrors = [err92];
}
else {
vErrors.push(err92);
}
errors++;
}
}
if(data.save_only_model !== undefined){
let data51 = data.save_only_model;
if(typeof data51 !== "boolean"){
const err93 = {instancePath:instancePath+"/save_only_model",schemaPath:"#/properties/save_only_model/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.save_only_model.type,parentSchema:schema11.properties.save_only_model,data:data51};
if(vErrors === null){
vErrors = [err93];
}
else {
vErrors.push(err93);
}
errors++;
}
}
if(data.save_total_limit !== undefined){
let data52 = data.save_total_limit;
if((!(((typeof data52 == "number") && (!(data52 % 1) && !isNaN(data52))) && (isFinite(data52)))) && (data52 !== null)){
const err94 = {instancePath:instancePath+"/save_total_limit",schemaPath:"#/properties/save_total_limit/type",keyword:"type",params:{type: schema11.properties.save_total_limit.type},message:"must be integer,null",schema:schema11.properties.save_total_limit.type,parentSchema:schema11.properties.save_total_limit,data:data52};
if(vErrors === null){
vErrors = [err94];
}
else {
vErrors.push(err94);
}
errors++;
}
if((typeof data52 == "number") && (isFinite(data52))){
if(data52 < 1 || isNaN(data52)){
const err95 = {instancePath:instancePath+"/save_total_limit",schemaPath:"#/properties/save_total_limit/minimum",keyword:"minimum",params:{comparison: ">=", limit: 1},message:"must be >= 1",schema:1,parentSchema:schema11.properties.save_total_limit,data:data52};
if(vErrors === null){
vErrors = [err95];
}
else {
vErrors.push(err95);
}
errors++;
}
}
}
if(data.load_best_model_at_end !== undefined){
let data53 = data.load_best_model_at_end;
if(typeof data53 !== "boolean"){
const err96 = {instancePath:instancePath+"/load_best_model_at_end",schemaPath:"#/properties/load_best_model_at_end/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.load_best_model_at_end.type,parentSchema:schema11.properties.load_best_model_at_end,data:data53};
if(vErrors === null){
vErrors = [err96];
}
else {
vErrors.push(err96);
}
errors++;
}
}
if(data.metric_for_best_model !== undefined){
let data54 = data.metric_for_best_model;
if((typeof data54 !== "string") && (data54 !== null)){
const err97 = {instancePath:instancePath+"/metric_for_best_model",schemaPath:"#/properties/metric_for_best_model/type",keyword:"type",params:{type: schema11.properties.metric_for_best_model.type},message:"must be string,null",schema:schema11.properties.metric_for_best_model.type,parentSchema:schema11.properties.metric_for_best_model,data:data54};
if(vErrors === null){
vErrors = [err97];
}
else {
vErrors.push(err97);
}
errors++;
}
if(typeof data54 === "string"){
if(!pattern0.test(data54)){
const err98 = {instancePath:instancePath+"/metric_for_best_model",schemaPath:"#/properties/metric_for_best_model/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema11.properties.metric_for_best_model,data:data54};
if(vErrors === null){
vErrors = [err98];
}
else {
vErrors.push(err98);
}
errors++;
}
}
}
if(data.greater_is_better !== undefined){
let data55 = data.greater_is_better;
if((typeof data55 !== "boolean") && (data55 !== null)){
const err99 = {instancePath:instancePath+"/greater_is_better",schemaPath:"#/properties/greater_is_better/type",keyword:"type",params:{type: schema11.properties.greater_is_better.type},message:"must be boolean,null",schema:schema11.properties.greater_is_better.type,parentSchema:schema11.properties.greater_is_better,data:data55};
if(vErrors === null){
vErrors = [err99];
}
else {
vErrors.push(err99);
}
errors++;
}
}
if(data.resume_from_checkpoint !== undefined){
let data56 = data.resume_from_checkpoint;
if(((typeof data56 !== "string") && (typeof data56 !== "boolean")) && (data56 !== null)){
const err100 = {instancePath:instancePath+"/resume_from_checkpoint",schemaPath:"#/properties/resume_from_checkpoint/type",keyword:"type",params:{type: schema11.properties.resume_from_checkpoint.type},message:"must be string,boolean,null",schema:schema11.properties.resume_from_checkpoint.type,parentSchema:schema11.properties.resume_from_checkpoint,data:data56};
if(vErrors === null){
vErrors = [err100];
}
else {
vErrors.push(err100);
}
errors++;
}
if(typeof data56 === "string"){
if(!pattern0.test(data56)){
const err101 = {instancePath:instancePath+"/resume_from_checkpoint",schemaPath:"#/properties/resume_from_checkpoint/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema11.properties.resume_from_checkpoint,data:data56};
if(vErrors === null){
vErrors = [err101];
}
else {
vErrors.push(err101);
}
errors++;
}
}
}
if(data.seed !== undefined){
let data57 = data.seed;
if(!(((typeof data57 == "number") && (!(data57 % 1) && !isNaN(data57))) && (isFinite(data57)))){
const err102 = {instancePath:instancePath+"/seed",schemaPath:"#/properties/seed/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema11.properties.seed.type,parentSchema:schema11.properties.seed,data:data57};
if(vErrors === null){
vErrors = [err102];
}
else {
vErrors.push(err102);
}
errors++;
}
if((typeof data57 == "number") && (isFinite(data57))){
if(data57 > 4294967295 || isNaN(data57)){
const err103 = {instancePath:instancePath+"/seed",schemaPath:"#/properties/seed/maximum",keyword:"maximum",params:{comparison: "<=", limit: 4294967295},message:"must be <= 4294967295",schema:4294967295,parentSchema:schema11.properties.seed,data:data57};
if(vErrors === null){
vErrors = [err103];
}
else {
vErrors.push(err103);
}
errors++;
}
if(data57 < 0 || isNaN(data57)){
const err104 = {instancePath:instancePath+"/seed",schemaPath:"#/properties/seed/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.seed,data:data57};
if(vErrors === null){
vErrors = [err104];
}
else {
vErrors.push(err104);
}
errors++;
}
}
}
if(data.data_seed !== undefined){
let data58 = data.data_seed;
if((!(((typeof data58 == "number") && (!(data58 % 1) && !isNaN(data58))) && (isFinite(data58)))) && (data58 !== null)){
const err105 = {instancePath:instancePath+"/data_seed",schemaPath:"#/properties/data_seed/type",keyword:"type",params:{type: schema11.properties.data_seed.type},message:"must be integer,null",schema:schema11.properties.data_seed.type,parentSchema:schema11.properties.data_seed,data:data58};
if(vErrors === null){
vErrors = [err105];
}
else {
vErrors.push(err105);
}
errors++;
}
if((typeof data58 == "number") && (isFinite(data58))){
if(data58 > 4294967295 || isNaN(data58)){
const err106 = {instancePath:instancePath+"/data_seed",schemaPath:"#/properties/data_seed/maximum",keyword:"maximum",params:{comparison: "<=", limit: 4294967295},message:"must be <= 4294967295",schema:4294967295,parentSchema:schema11.properties.data_seed,data:data58};
if(vErrors === null){
vErrors = [err106];
}
else {
vErrors.push(err106);
}
errors++;
}
if(data58 < 0 || isNaN(data58)){
const err107 = {instancePath:instancePath+"/data_seed",schemaPath:"#/properties/data_seed/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.data_seed,data:data58};
if(vErrors === null){
vErrors = [err107];
}
else {
vErrors.push(err107);
}
errors++;
}
}
}
if(data.bf16 !== undefined){
let data59 = data.bf16;
if(typeof data59 !== "boolean"){
const err108 = {instancePath:instancePath+"/bf16",schemaPath:"#/properties/bf16/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.bf16.type,parentSchema:schema11.properties.bf16,data:data59};
if(vErrors === null){
vErrors = [err108];
}
else {
vErrors.push(err108);
}
errors++;
}
}
if(data.fp16 !== undefined){
let data60 = data.fp16;
if(typeof data60 !== "boolean"){
const err109 = {instancePath:instancePath+"/fp16",schemaPath:"#/properties/fp16/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.fp16.type,parentSchema:schema11.properties.fp16,data:data60};
if(vErrors === null){
vErrors = [err109];
}
else {
vErrors.push(err109);
}
errors++;
}
}
if(data.base_precision !== undefined){
let data61 = data.base_precision;
if(typeof data61 !== "string"){
const err110 = {instancePath:instancePath+"/base_precision",schemaPath:"#/properties/base_precision/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema11.properties.base_precision.type,parentSchema:schema11.properties.base_precision,data:data61};
if(vErrors === null){
vErrors = [err110];
}
else {
vErrors.push(err110);
}
errors++;
}
if(!((((data61 === "bf16") || (data61 === "fp8")) || (data61 === "nf4")) || (data61 === "fp4"))){
const err111 = {instancePath:instancePath+"/base_precision",schemaPath:"#/properties/base_precision/enum",keyword:"enum",params:{allowedValues: schema11.properties.base_precision.enum},message:"must be equal to one of the allowed values",schema:schema11.properties.base_precision.enum,parentSchema:schema11.properties.base_precision,data:data61};
if(vErrors === null){
vErrors = [err111];
}
else {
vErrors.push(err111);
}
errors++;
}
}
if(data.fp8_keep_transposed !== undefined){
let data62 = data.fp8_keep_transposed;
if(typeof data62 !== "boolean"){
const err112 = {instancePath:instancePath+"/fp8_keep_transposed",schemaPath:"#/properties/fp8_keep_transposed/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.fp8_keep_transposed.type,parentSchema:schema11.properties.fp8_keep_transposed,data:data62};
if(vErrors === null){
vErrors = [err112];
}
else {
vErrors.push(err112);
}
errors++;
}
}
if(data.fp8_outlier_channels !== undefined){
let data63 = data.fp8_outlier_channels;
if((!(((typeof data63 == "number") && (!(data63 % 1) && !isNaN(data63))) && (isFinite(data63)))) && (data63 !== null)){
const err113 = {instancePath:instancePath+"/fp8_outlier_channels",schemaPath:"#/properties/fp8_outlier_channels/type",keyword:"type",params:{type: schema11.properties.fp8_outlier_channels.type},message:"must be integer,null",schema:schema11.properties.fp8_outlier_channels.type,parentSchema:schema11.properties.fp8_outlier_channels,data:data63};
if(vErrors === null){
vErrors = [err113];
}
else {
vErrors.push(err113);
}
errors++;
}
if((typeof data63 == "number") && (isFinite(data63))){
if(data63 > 240 || isNaN(data63)){
const err114 = {instancePath:instancePath+"/fp8_outlier_channels",schemaPath:"#/properties/fp8_outlier_channels/maximum",keyword:"maximum",params:{comparison: "<=", limit: 240},message:"must be <= 240",schema:240,parentSchema:schema11.properties.fp8_outlier_channels,data:data63};
if(vErrors === null){
vErrors = [err114];
}
else {
vErrors.push(err114);
}
errors++;
}
if(data63 < 0 || isNaN(data63)){
const err115 = {instancePath:instancePath+"/fp8_outlier_channels",schemaPath:"#/properties/fp8_outlier_channels/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.fp8_outlier_channels,data:data63};
if(vErrors === null){
vErrors = [err115];
}
else {
vErrors.push(err115);
}
errors++;
}
}
}
if(data.modules_to_not_convert !== undefined){
let data64 = data.modules_to_not_convert;
if((typeof data64 !== "string") && (!(Array.isArray(data64)))){
const err116 = {instancePath:instancePath+"/modules_to_not_convert",schemaPath:"#/properties/modules_to_not_convert/type",keyword:"type",params:{type: schema11.properties.modules_to_not_convert.type},message:"must be string,array",schema:schema11.properties.modules_to_not_convert.type,parentSchema:schema11.properties.modules_to_not_convert,data:data64};
if(vErrors === null){
vErrors = [err116];
}
else {
vErrors.push(err116);
}
errors++;
}
if(Array.isArray(data64)){
const len4 = data64.length;
for(let i4=0; i4<len4; i4++){
let data65 = data64[i4];
if(typeof data65 !== "string"){
const err117 = {instancePath:instancePath+"/modules_to_not_convert/" + i4,schemaPath:"#/properties/modules_to_not_convert/items/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema11.properties.modules_to_not_convert.items.type,parentSchema:schema11.properties.modules_to_not_convert.items,data:data65};
if(vErrors === null){
vErrors = [err117];
}
else {
vErrors.push(err117);
}
errors++;
}
}
}
}
if(data.bnb_4bit_quant_type !== undefined){
let data66 = data.bnb_4bit_quant_type;
if(typeof data66 !== "string"){
const err118 = {instancePath:instancePath+"/bnb_4bit_quant_type",schemaPath:"#/properties/bnb_4bit_quant_type/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema11.properties.bnb_4bit_quant_type.type,parentSchema:schema11.properties.bnb_4bit_quant_type,data:data66};
if(vErrors === null){
vErrors = [err118];
}
else {
vErrors.push(err118);
}
errors++;
}
if(!((data66 === "nf4") || (data66 === "fp4"))){
const err119 = {instancePath:instancePath+"/bnb_4bit_quant_type",schemaPath:"#/properties/bnb_4bit_quant_type/enum",keyword:"enum",params:{allowedValues: schema11.properties.bnb_4bit_quant_type.enum},message:"must be equal to one of the allowed values",schema:schema11.properties.bnb_4bit_quant_type.enum,parentSchema:schema11.properties.bnb_4bit_quant_type,data:data66};
if(vErrors === null){
vErrors = [err119];
}
else {
vErrors.push(err119);
}
errors++;
}
}
if(data.bnb_4bit_use_double_quant !== undefined){
let data67 = data.bnb_4bit_use_double_quant;
if(typeof data67 !== "boolean"){
const err120 = {instancePath:instancePath+"/bnb_4bit_use_double_quant",schemaPath:"#/properties/bnb_4bit_use_double_quant/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.bnb_4bit_use_double_quant.type,parentSchema:schema11.properties.bnb_4bit_use_double_quant,data:data67};
if(vErrors === null){
vErrors = [err120];
}
else {
vErrors.push(err120);
}
errors++;
}
}
if(data.bnb_4bit_compute_dtype !== undefined){
let data68 = data.bnb_4bit_compute_dtype;
if((typeof data68 !== "string") && (data68 !== null)){
const err121 = {instancePath:instancePath+"/bnb_4bit_compute_dtype",schemaPath:"#/properties/bnb_4bit_compute_dtype/type",keyword:"type",params:{type: schema11.properties.bnb_4bit_compute_dtype.type},message:"must be string,null",schema:schema11.properties.bnb_4bit_compute_dtype.type,parentSchema:schema11.properties.bnb_4bit_compute_dtype,data:data68};
if(vErrors === null){
vErrors = [err121];
}
else {
vErrors.push(err121);
}
errors++;
}
if(!((((data68 === "float32") || (data68 === "bfloat16")) || (data68 === "float16")) || (data68 === null))){
const err122 = {instancePath:instancePath+"/bnb_4bit_compute_dtype",schemaPath:"#/properties/bnb_4bit_compute_dtype/enum",keyword:"enum",params:{allowedValues: schema11.properties.bnb_4bit_compute_dtype.enum},message:"must be equal to one of the allowed values",schema:schema11.properties.bnb_4bit_compute_dtype.enum,parentSchema:schema11.properties.bnb_4bit_compute_dtype,data:data68};
if(vErrors === null){
vErrors = [err122];
}
else {
vErrors.push(err122);
}
errors++;
}
}
if(data.bnb_4bit_embeddings !== undefined){
let data69 = data.bnb_4bit_embeddings;
if(typeof data69 !== "boolean"){
const err123 = {instancePath:instancePath+"/bnb_4bit_embeddings",schemaPath:"#/properties/bnb_4bit_embeddings/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.bnb_4bit_embeddings.type,parentSchema:schema11.properties.bnb_4bit_embeddings,data:data69};
if(vErrors === null){
vErrors = [err123];
}
else {
vErrors.push(err123);
}
errors++;
}
}
if(data.shared_selection !== undefined){
let data70 = data.shared_selection;
if(typeof data70 !== "boolean"){
const err124 = {instancePath:instancePath+"/shared_selection",schemaPath:"#/properties/shared_selection/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.shared_selection.type,parentSchema:schema11.properties.shared_selection,data:data70};
if(vErrors === null){
vErrors = [err124];
}
else {
vErrors.push(err124);
}
errors++;
}
}
if(data.shard_base !== undefined){
let data71 = data.shard_base;
if(typeof data71 !== "boolean"){
const err125 = {instancePath:instancePath+"/shard_base",schemaPath:"#/properties/shard_base/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.shard_base.type,parentSchema:schema11.properties.shard_base,data:data71};
if(vErrors === null){
vErrors = [err125];
}
else {
vErrors.push(err125);
}
errors++;
}
}
if(data.gradient_checkpointing !== undefined){
let data72 = data.gradient_checkpointing;
if(typeof data72 !== "boolean"){
const err126 = {instancePath:instancePath+"/gradient_checkpointing",schemaPath:"#/properties/gradient_checkpointing/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.gradient_checkpointing.type,parentSchema:schema11.properties.gradient_checkpointing,data:data72};
if(vErrors === null){
vErrors = [err126];
}
else {
vErrors.push(err126);
}
errors++;
}
}
if(data.dataloader_num_workers !== undefined){
let data73 = data.dataloader_num_workers;
if(!(((typeof data73 == "number") && (!(data73 % 1) && !isNaN(data73))) && (isFinite(data73)))){
const err127 = {instancePath:instancePath+"/dataloader_num_workers",schemaPath:"#/properties/dataloader_num_workers/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema11.properties.dataloader_num_workers.type,parentSchema:schema11.properties.dataloader_num_workers,data:data73};
if(vErrors === null){
vErrors = [err127];
}
else {
vErrors.push(err127);
}
errors++;
}
if((typeof data73 == "number") && (isFinite(data73))){
if(data73 < 0 || isNaN(data73)){
const err128 = {instancePath:instancePath+"/dataloader_num_workers",schemaPath:"#/properties/dataloader_num_workers/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.dataloader_num_workers,data:data73};
if(vErrors === null){
vErrors = [err128];
}
else {
vErrors.push(err128);
}
errors++;
}
}
}
if(data.ddp_find_unused_parameters !== undefined){
let data74 = data.ddp_find_unused_parameters;
if((typeof data74 !== "boolean") && (data74 !== null)){
const err129 = {instancePath:instancePath+"/ddp_find_unused_parameters",schemaPath:"#/properties/ddp_find_unused_parameters/type",keyword:"type",params:{type: schema11.properties.ddp_find_unused_parameters.type},message:"must be boolean,null",schema:schema11.properties.ddp_find_unused_parameters.type,parentSchema:schema11.properties.ddp_find_unused_parameters,data:data74};
if(vErrors === null){
vErrors = [err129];
}
else {
vErrors.push(err129);
}
errors++;
}
}
if(data.peft !== undefined){
let data75 = data.peft;
if((typeof data75 !== "string") && (data75 !== null)){
const err130 = {instancePath:instancePath+"/peft",schemaPath:"#/properties/peft/type",keyword:"type",params:{type: schema11.properties.peft.type},message:"must be string,null",schema:schema11.properties.peft.type,parentSchema:schema11.properties.peft,data:data75};
if(vErrors === null){
vErrors = [err130];
}
else {
vErrors.push(err130);
}
errors++;
}
if(typeof data75 === "string"){
if(!pattern0.test(data75)){
const err131 = {instancePath:instancePath+"/peft",schemaPath:"#/properties/peft/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema11.properties.peft,data:data75};
if(vErrors === null){
vErrors = [err131];
}
else {
vErrors.push(err131);
}
errors++;
}
}
}
if(data.lora_r !== undefined){
let data76 = data.lora_r;
if(!(((typeof data76 == "number") && (!(data76 % 1) && !isNaN(data76))) && (isFinite(data76)))){
const err132 = {instancePath:instancePath+"/lora_r",schemaPath:"#/properties/lora_r/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema11.properties.lora_r.type,parentSchema:schema11.properties.lora_r,data:data76};
if(vErrors === null){
vErrors = [err132];
}
else {
vErrors.push(err132);
}
errors++;
}
if((typeof data76 == "number") && (isFinite(data76))){
if(data76 < 1 || isNaN(data76)){
const err133 = {instancePath:instancePath+"/lora_r",schemaPath:"#/properties/lora_r/minimum",keyword:"minimum",params:{comparison: ">=", limit: 1},message:"must be >= 1",schema:1,parentSchema:schema11.properties.lora_r,data:data76};
if(vErrors === null){
vErrors = [err133];
}
else {
vErrors.push(err133);
}
errors++;
}
}
}
if(data.lora_alpha !== undefined){
let data77 = data.lora_alpha;
if((typeof data77 == "number") && (isFinite(data77))){
if(data77 <= 0 || isNaN(data77)){
const err134 = {instancePath:instancePath+"/lora_alpha",schemaPath:"#/properties/lora_alpha/exclusiveMinimum",keyword:"exclusiveMinimum",params:{comparison: ">", limit: 0},message:"must be > 0",schema:0,parentSchema:schema11.properties.lora_alpha,data:data77};
if(vErrors === null){
vErrors = [err134];
}
else {
vErrors.push(err134);
}
errors++;
}
}
else {
const err135 = {instancePath:instancePath+"/lora_alpha",schemaPath:"#/properties/lora_alpha/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema11.properties.lora_alpha.type,parentSchema:schema11.properties.lora_alpha,data:data77};
if(vErrors === null){
vErrors = [err135];
}
else {
vErrors.push(err135);
}
errors++;
}
}
if(data.lora_dropout !== undefined){
let data78 = data.lora_dropout;
if((typeof data78 == "number") && (isFinite(data78))){
if(data78 < 0 || isNaN(data78)){
const err136 = {instancePath:instancePath+"/lora_dropout",schemaPath:"#/properties/lora_dropout/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.lora_dropout,data:data78};
if(vErrors === null){
vErrors = [err136];
}
else {
vErrors.push(err136);
}
errors++;
}
if(data78 >= 1 || isNaN(data78)){
const err137 = {instancePath:instancePath+"/lora_dropout",schemaPath:"#/properties/lora_dropout/exclusiveMaximum",keyword:"exclusiveMaximum",params:{comparison: "<", limit: 1},message:"must be < 1",schema:1,parentSchema:schema11.properties.lora_dropout,data:data78};
if(vErrors === null){
vErrors = [err137];
}
else {
vErrors.push(err137);
}
errors++;
}
}
else {
const err138 = {instancePath:instancePath+"/lora_dropout",schemaPath:"#/properties/lora_dropout/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema11.properties.lora_dropout.type,parentSchema:schema11.properties.lora_dropout,data:data78};
if(vErrors === null){
vErrors = [err138];
}
else {
vErrors.push(err138);
}
errors++;
}
}
if(data.lora_target_modules !== undefined){
let data79 = data.lora_target_modules;
if((typeof data79 !== "string") && (!(Array.isArray(data79)))){
const err139 = {instancePath:instancePath+"/lora_target_modules",schemaPath:"#/properties/lora_target_modules/type",keyword:"type",params:{type: schema11.properties.lora_target_modules.type},message:"must be string,array",schema:schema11.properties.lora_target_modules.type,parentSchema:schema11.properties.lora_target_modules,data:data79};
if(vErrors === null){
vErrors = [err139];
}
else {
vErrors.push(err139);
}
errors++;
}
if(Array.isArray(data79)){
const len5 = data79.length;
for(let i5=0; i5<len5; i5++){
let data80 = data79[i5];
if(typeof data80 !== "string"){
const err140 = {instancePath:instancePath+"/lora_target_modules/" + i5,schemaPath:"#/properties/lora_target_modules/items/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema11.properties.lora_target_modules.items.type,parentSchema:schema11.properties.lora_target_modules.items,data:data80};
if(vErrors === null){
vErrors = [err140];
}
else {
vErrors.push(err140);
}
errors++;
}
}
}
}
if(data.modules_to_save !== undefined){
let data81 = data.modules_to_save;
if((typeof data81 !== "string") && (!(Array.isArray(data81)))){
const err141 = {instancePath:instancePath+"/modules_to_save",schemaPath:"#/properties/modules_to_save/type",keyword:"type",params:{type: schema11.properties.modules_to_save.type},message:"must be string,array",schema:schema11.properties.modules_to_save.type,parentSchema:schema11.properties.modules_to_save,data:data81};
if(vErrors === null){
vErrors = [err141];
}
else {
vErrors.push(err141);
}
errors++;
}
if(Array.isArray(data81)){
const len6 = data81.length;
for(let i6=0; i6<len6; i6++){
let data82 = data81[i6];
if(typeof data82 !== "string"){
const err142 = {instancePath:instancePath+"/modules_to_save/" + i6,schemaPath:"#/properties/modules_to_save/items/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema11.properties.modules_to_save.items.type,parentSchema:schema11.properties.modules_to_save.items,data:data82};
if(vErrors === null){
vErrors = [err142];
}
else {
vErrors.push(err142);
}
errors++;
}
}
}
}
if(data.use_rslora !== undefined){
let data83 = data.use_rslora;
if(typeof data83 !== "boolean"){
const err143 = {instancePath:instancePath+"/use_rslora",schemaPath:"#/properties/use_rslora/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.use_rslora.type,parentSchema:schema11.properties.use_rslora,data:data83};
if(vErrors === null){
vErrors = [err143];
}
else {
vErrors.push(err143);
}
errors++;
}
}
if(data.spft !== undefined){
let data84 = data.spft;
if((typeof data84 !== "string") && (data84 !== null)){
const err144 = {instancePath:instancePath+"/spft",schemaPath:"#/properties/spft/type",keyword:"type",params:{type: schema11.properties.spft.type},message:"must be string,null",schema:schema11.properties.spft.type,parentSchema:schema11.properties.spft,data:data84};
if(vErrors === null){
vErrors = [err144];
}
else {
vErrors.push(err144);
}
errors++;
}
if(typeof data84 === "string"){
if(!pattern0.test(data84)){
const err145 = {instancePath:instancePath+"/spft",schemaPath:"#/properties/spft/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema11.properties.spft,data:data84};
if(vErrors === null){
vErrors = [err145];
}
else {
vErrors.push(err145);
}
errors++;
}
}
}
if(data.spft_mode !== undefined){
let data85 = data.spft_mode;
if((typeof data85 !== "string") && (data85 !== null)){
const err146 = {instancePath:instancePath+"/spft_mode",schemaPath:"#/properties/spft_mode/type",keyword:"type",params:{type: schema11.properties.spft_mode.type},message:"must be string,null",schema:schema11.properties.spft_mode.type,parentSchema:schema11.properties.spft_mode,data:data85};
if(vErrors === null){
vErrors = [err146];
}
else {
vErrors.push(err146);
}
errors++;
}
if(typeof data85 === "string"){
if(!pattern13.test(data85)){
const err147 = {instancePath:instancePath+"/spft_mode",schemaPath:"#/properties/spft_mode/pattern",keyword:"pattern",params:{pattern: "^[A-Za-z][A-Za-z0-9_.:+-]*$"},message:"must match pattern \""+"^[A-Za-z][A-Za-z0-9_.:+-]*$"+"\"",schema:"^[A-Za-z][A-Za-z0-9_.:+-]*$",parentSchema:schema11.properties.spft_mode,data:data85};
if(vErrors === null){
vErrors = [err147];
}
else {
vErrors.push(err147);
}
errors++;
}
}
}
if(data.spft_predictor_basepath !== undefined){
let data86 = data.spft_predictor_basepath;
if((typeof data86 !== "string") && (data86 !== null)){
const err148 = {instancePath:instancePath+"/spft_predictor_basepath",schemaPath:"#/properties/spft_predictor_basepath/type",keyword:"type",params:{type: schema11.properties.spft_predictor_basepath.type},message:"must be string,null",schema:schema11.properties.spft_predictor_basepath.type,parentSchema:schema11.properties.spft_predictor_basepath,data:data86};
if(vErrors === null){
vErrors = [err148];
}
else {
vErrors.push(err148);
}
errors++;
}
if(typeof data86 === "string"){
if(!pattern0.test(data86)){
const err149 = {instancePath:instancePath+"/spft_predictor_basepath",schemaPath:"#/properties/spft_predictor_basepath/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema11.properties.spft_predictor_basepath,data:data86};
if(vErrors === null){
vErrors = [err149];
}
else {
vErrors.push(err149);
}
errors++;
}
}
}
if(data.spft_skip_sink_tokens !== undefined){
let data87 = data.spft_skip_sink_tokens;
if((!(((typeof data87 == "number") && (!(data87 % 1) && !isNaN(data87))) && (isFinite(data87)))) && (data87 !== null)){
const err150 = {instancePath:instancePath+"/spft_skip_sink_tokens",schemaPath:"#/properties/spft_skip_sink_tokens/type",keyword:"type",params:{type: schema11.properties.spft_skip_sink_tokens.type},message:"must be integer,null",schema:schema11.properties.spft_skip_sink_tokens.type,parentSchema:schema11.properties.spft_skip_sink_tokens,data:data87};
if(vErrors === null){
vErrors = [err150];
}
else {
vErrors.push(err150);
}
errors++;
}
if((typeof data87 == "number") && (isFinite(data87))){
if(data87 < 0 || isNaN(data87)){
const err151 = {instancePath:instancePath+"/spft_skip_sink_tokens",schemaPath:"#/properties/spft_skip_sink_tokens/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.spft_skip_sink_tokens,data:data87};
if(vErrors === null){
vErrors = [err151];
}
else {
vErrors.push(err151);
}
errors++;
}
}
}
if(data.spft_skip_output_tokens !== undefined){
let data88 = data.spft_skip_output_tokens;
if((typeof data88 !== "boolean") && (data88 !== null)){
const err152 = {instancePath:instancePath+"/spft_skip_output_tokens",schemaPath:"#/properties/spft_skip_output_tokens/type",keyword:"type",params:{type: schema11.properties.spft_skip_output_tokens.type},message:"must be boolean,null",schema:schema11.properties.spft_skip_output_tokens.type,parentSchema:schema11.properties.spft_skip_output_tokens,data:data88};
if(vErrors === null){
vErrors = [err152];
}
else {
vErrors.push(err152);
}
errors++;
}
}
if(data.spft_skip_tail_tokens !== undefined){
let data89 = data.spft_skip_tail_tokens;
if((!(((typeof data89 == "number") && (!(data89 % 1) && !isNaN(data89))) && (isFinite(data89)))) && (data89 !== null)){
const err153 = {instancePath:instancePath+"/spft_skip_tail_tokens",schemaPath:"#/properties/spft_skip_tail_tokens/type",keyword:"type",params:{type: schema11.properties.spft_skip_tail_tokens.type},message:"must be integer,null",schema:schema11.properties.spft_skip_tail_tokens.type,parentSchema:schema11.properties.spft_skip_tail_tokens,data:data89};
if(vErrors === null){
vErrors = [err153];
}
else {
vErrors.push(err153);
}
errors++;
}
if((typeof data89 == "number") && (isFinite(data89))){
if(data89 < 0 || isNaN(data89)){
const err154 = {instancePath:instancePath+"/spft_skip_tail_tokens",schemaPath:"#/properties/spft_skip_tail_tokens/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.spft_skip_tail_tokens,data:data89};
if(vErrors === null){
vErrors = [err154];
}
else {
vErrors.push(err154);
}
errors++;
}
}
}
if(data.spft_skip_random_tokens !== undefined){
let data90 = data.spft_skip_random_tokens;
if((typeof data90 !== "boolean") && (data90 !== null)){
const err155 = {instancePath:instancePath+"/spft_skip_random_tokens",schemaPath:"#/properties/spft_skip_random_tokens/type",keyword:"type",params:{type: schema11.properties.spft_skip_random_tokens.type},message:"must be boolean,null",schema:schema11.properties.spft_skip_random_tokens.type,parentSchema:schema11.properties.spft_skip_random_tokens,data:data90};
if(vErrors === null){
vErrors = [err155];
}
else {
vErrors.push(err155);
}
errors++;
}
}
if(data.spft_start_step !== undefined){
let data91 = data.spft_start_step;
if((!((typeof data91 == "number") && (isFinite(data91)))) && (data91 !== null)){
const err156 = {instancePath:instancePath+"/spft_start_step",schemaPath:"#/properties/spft_start_step/type",keyword:"type",params:{type: schema11.properties.spft_start_step.type},message:"must be number,null",schema:schema11.properties.spft_start_step.type,parentSchema:schema11.properties.spft_start_step,data:data91};
if(vErrors === null){
vErrors = [err156];
}
else {
vErrors.push(err156);
}
errors++;
}
if((typeof data91 == "number") && (isFinite(data91))){
if(data91 < 0 || isNaN(data91)){
const err157 = {instancePath:instancePath+"/spft_start_step",schemaPath:"#/properties/spft_start_step/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.spft_start_step,data:data91};
if(vErrors === null){
vErrors = [err157];
}
else {
vErrors.push(err157);
}
errors++;
}
}
}
if(data.spft_end_step !== undefined){
let data92 = data.spft_end_step;
if((!((typeof data92 == "number") && (isFinite(data92)))) && (data92 !== null)){
const err158 = {instancePath:instancePath+"/spft_end_step",schemaPath:"#/properties/spft_end_step/type",keyword:"type",params:{type: schema11.properties.spft_end_step.type},message:"must be number,null",schema:schema11.properties.spft_end_step.type,parentSchema:schema11.properties.spft_end_step,data:data92};
if(vErrors === null){
vErrors = [err158];
}
else {
vErrors.push(err158);
}
errors++;
}
if((typeof data92 == "number") && (isFinite(data92))){
if(data92 < 0 || isNaN(data92)){
const err159 = {instancePath:instancePath+"/spft_end_step",schemaPath:"#/properties/spft_end_step/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.spft_end_step,data:data92};
if(vErrors === null){
vErrors = [err159];
}
else {
vErrors.push(err159);
}
errors++;
}
}
}
if(data.spft_sparse_lora_branch !== undefined){
let data93 = data.spft_sparse_lora_branch;
if((typeof data93 !== "boolean") && (data93 !== null)){
const err160 = {instancePath:instancePath+"/spft_sparse_lora_branch",schemaPath:"#/properties/spft_sparse_lora_branch/type",keyword:"type",params:{type: schema11.properties.spft_sparse_lora_branch.type},message:"must be boolean,null",schema:schema11.properties.spft_sparse_lora_branch.type,parentSchema:schema11.properties.spft_sparse_lora_branch,data:data93};
if(vErrors === null){
vErrors = [err160];
}
else {
vErrors.push(err160);
}
errors++;
}
}
if(data.spft_qk_per_head !== undefined){
let data94 = data.spft_qk_per_head;
if((typeof data94 !== "boolean") && (data94 !== null)){
const err161 = {instancePath:instancePath+"/spft_qk_per_head",schemaPath:"#/properties/spft_qk_per_head/type",keyword:"type",params:{type: schema11.properties.spft_qk_per_head.type},message:"must be boolean,null",schema:schema11.properties.spft_qk_per_head.type,parentSchema:schema11.properties.spft_qk_per_head,data:data94};
if(vErrors === null){
vErrors = [err161];
}
else {
vErrors.push(err161);
}
errors++;
}
}
if(data.spft_qkvo_seq_avg !== undefined){
let data95 = data.spft_qkvo_seq_avg;
if((typeof data95 !== "boolean") && (data95 !== null)){
const err162 = {instancePath:instancePath+"/spft_qkvo_seq_avg",schemaPath:"#/properties/spft_qkvo_seq_avg/type",keyword:"type",params:{type: schema11.properties.spft_qkvo_seq_avg.type},message:"must be boolean,null",schema:schema11.properties.spft_qkvo_seq_avg.type,parentSchema:schema11.properties.spft_qkvo_seq_avg,data:data95};
if(vErrors === null){
vErrors = [err162];
}
else {
vErrors.push(err162);
}
errors++;
}
}
if(data.spft_mlp_seq_avg !== undefined){
let data96 = data.spft_mlp_seq_avg;
if((typeof data96 !== "boolean") && (data96 !== null)){
const err163 = {instancePath:instancePath+"/spft_mlp_seq_avg",schemaPath:"#/properties/spft_mlp_seq_avg/type",keyword:"type",params:{type: schema11.properties.spft_mlp_seq_avg.type},message:"must be boolean,null",schema:schema11.properties.spft_mlp_seq_avg.type,parentSchema:schema11.properties.spft_mlp_seq_avg,data:data96};
if(vErrors === null){
vErrors = [err163];
}
else {
vErrors.push(err163);
}
errors++;
}
}
if(data.spft_sparse_output_tokens !== undefined){
let data97 = data.spft_sparse_output_tokens;
if((!((typeof data97 == "number") && (isFinite(data97)))) && (data97 !== null)){
const err164 = {instancePath:instancePath+"/spft_sparse_output_tokens",schemaPath:"#/properties/spft_sparse_output_tokens/type",keyword:"type",params:{type: schema11.properties.spft_sparse_output_tokens.type},message:"must be number,null",schema:schema11.properties.spft_sparse_output_tokens.type,parentSchema:schema11.properties.spft_sparse_output_tokens,data:data97};
if(vErrors === null){
vErrors = [err164];
}
else {
vErrors.push(err164);
}
errors++;
}
if((typeof data97 == "number") && (isFinite(data97))){
if(data97 > 1 || isNaN(data97)){
const err165 = {instancePath:instancePath+"/spft_sparse_output_tokens",schemaPath:"#/properties/spft_sparse_output_tokens/maximum",keyword:"maximum",params:{comparison: "<=", limit: 1},message:"must be <= 1",schema:1,parentSchema:schema11.properties.spft_sparse_output_tokens,data:data97};
if(vErrors === null){
vErrors = [err165];
}
else {
vErrors.push(err165);
}
errors++;
}
if(data97 < 0 || isNaN(data97)){
const err166 = {instancePath:instancePath+"/spft_sparse_output_tokens",schemaPath:"#/properties/spft_sparse_output_tokens/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.spft_sparse_output_tokens,data:data97};
if(vErrors === null){
vErrors = [err166];
}
else {
vErrors.push(err166);
}
errors++;
}
}
}
if(data.spft_score_tokens !== undefined){
let data98 = data.spft_score_tokens;
if((!(((typeof data98 == "number") && (!(data98 % 1) && !isNaN(data98))) && (isFinite(data98)))) && (data98 !== null)){
const err167 = {instancePath:instancePath+"/spft_score_tokens",schemaPath:"#/properties/spft_score_tokens/type",keyword:"type",params:{type: schema11.properties.spft_score_tokens.type},message:"must be integer,null",schema:schema11.properties.spft_score_tokens.type,parentSchema:schema11.properties.spft_score_tokens,data:data98};
if(vErrors === null){
vErrors = [err167];
}
else {
vErrors.push(err167);
}
errors++;
}
if((typeof data98 == "number") && (isFinite(data98))){
if(data98 < 0 || isNaN(data98)){
const err168 = {instancePath:instancePath+"/spft_score_tokens",schemaPath:"#/properties/spft_score_tokens/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.spft_score_tokens,data:data98};
if(vErrors === null){
vErrors = [err168];
}
else {
vErrors.push(err168);
}
errors++;
}
}
}
if(data.spft_score_context_tokens !== undefined){
let data99 = data.spft_score_context_tokens;
if((typeof data99 !== "boolean") && (data99 !== null)){
const err169 = {instancePath:instancePath+"/spft_score_context_tokens",schemaPath:"#/properties/spft_score_context_tokens/type",keyword:"type",params:{type: schema11.properties.spft_score_context_tokens.type},message:"must be boolean,null",schema:schema11.properties.spft_score_context_tokens.type,parentSchema:schema11.properties.spft_score_context_tokens,data:data99};
if(vErrors === null){
vErrors = [err169];
}
else {
vErrors.push(err169);
}
errors++;
}
}
if(data.spft_compensation_rank !== undefined){
let data100 = data.spft_compensation_rank;
if((!(((typeof data100 == "number") && (!(data100 % 1) && !isNaN(data100))) && (isFinite(data100)))) && (data100 !== null)){
const err170 = {instancePath:instancePath+"/spft_compensation_rank",schemaPath:"#/properties/spft_compensation_rank/type",keyword:"type",params:{type: schema11.properties.spft_compensation_rank.type},message:"must be integer,null",schema:schema11.properties.spft_compensation_rank.type,parentSchema:schema11.properties.spft_compensation_rank,data:data100};
if(vErrors === null){
vErrors = [err170];
}
else {
vErrors.push(err170);
}
errors++;
}
if((typeof data100 == "number") && (isFinite(data100))){
if(data100 < 0 || isNaN(data100)){
const err171 = {instancePath:instancePath+"/spft_compensation_rank",schemaPath:"#/properties/spft_compensation_rank/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.spft_compensation_rank,data:data100};
if(vErrors === null){
vErrors = [err171];
}
else {
vErrors.push(err171);
}
errors++;
}
}
}
if(data.spft_selection_interval !== undefined){
let data101 = data.spft_selection_interval;
if((!(((typeof data101 == "number") && (!(data101 % 1) && !isNaN(data101))) && (isFinite(data101)))) && (data101 !== null)){
const err172 = {instancePath:instancePath+"/spft_selection_interval",schemaPath:"#/properties/spft_selection_interval/type",keyword:"type",params:{type: schema11.properties.spft_selection_interval.type},message:"must be integer,null",schema:schema11.properties.spft_selection_interval.type,parentSchema:schema11.properties.spft_selection_interval,data:data101};
if(vErrors === null){
vErrors = [err172];
}
else {
vErrors.push(err172);
}
errors++;
}
if((typeof data101 == "number") && (isFinite(data101))){
if(data101 < 1 || isNaN(data101)){
const err173 = {instancePath:instancePath+"/spft_selection_interval",schemaPath:"#/properties/spft_selection_interval/minimum",keyword:"minimum",params:{comparison: ">=", limit: 1},message:"must be >= 1",schema:1,parentSchema:schema11.properties.spft_selection_interval,data:data101};
if(vErrors === null){
vErrors = [err173];
}
else {
vErrors.push(err173);
}
errors++;
}
}
}
if(data.spft_dense_every !== undefined){
let data102 = data.spft_dense_every;
if((!(((typeof data102 == "number") && (!(data102 % 1) && !isNaN(data102))) && (isFinite(data102)))) && (data102 !== null)){
const err174 = {instancePath:instancePath+"/spft_dense_every",schemaPath:"#/properties/spft_dense_every/type",keyword:"type",params:{type: schema11.properties.spft_dense_every.type},message:"must be integer,null",schema:schema11.properties.spft_dense_every.type,parentSchema:schema11.properties.spft_dense_every,data:data102};
if(vErrors === null){
vErrors = [err174];
}
else {
vErrors.push(err174);
}
errors++;
}
if((typeof data102 == "number") && (isFinite(data102))){
if(data102 < 0 || isNaN(data102)){
const err175 = {instancePath:instancePath+"/spft_dense_every",schemaPath:"#/properties/spft_dense_every/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema11.properties.spft_dense_every,data:data102};
if(vErrors === null){
vErrors = [err175];
}
else {
vErrors.push(err175);
}
errors++;
}
}
}
if(data.spft_gradient !== undefined){
let data103 = data.spft_gradient;
if((typeof data103 !== "string") && (data103 !== null)){
const err176 = {instancePath:instancePath+"/spft_gradient",schemaPath:"#/properties/spft_gradient/type",keyword:"type",params:{type: schema11.properties.spft_gradient.type},message:"must be string,null",schema:schema11.properties.spft_gradient.type,parentSchema:schema11.properties.spft_gradient,data:data103};
if(vErrors === null){
vErrors = [err176];
}
else {
vErrors.push(err176);
}
errors++;
}
if(!((((data103 === "exact") || (data103 === "cut")) || (data103 === "straight_through")) || (data103 === null))){
const err177 = {instancePath:instancePath+"/spft_gradient",schemaPath:"#/properties/spft_gradient/enum",keyword:"enum",params:{allowedValues: schema11.properties.spft_gradient.enum},message:"must be equal to one of the allowed values",schema:schema11.properties.spft_gradient.enum,parentSchema:schema11.properties.spft_gradient,data:data103};
if(vErrors === null){
vErrors = [err177];
}
else {
vErrors.push(err177);
}
errors++;
}
}
if(data.eval_only !== undefined){
let data104 = data.eval_only;
if(typeof data104 !== "boolean"){
const err178 = {instancePath:instancePath+"/eval_only",schemaPath:"#/properties/eval_only/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.eval_only.type,parentSchema:schema11.properties.eval_only,data:data104};
if(vErrors === null){
vErrors = [err178];
}
else {
vErrors.push(err178);
}
errors++;
}
}
if(data.enable_unsloth !== undefined){
let data105 = data.enable_unsloth;
if(typeof data105 !== "boolean"){
const err179 = {instancePath:instancePath+"/enable_unsloth",schemaPath:"#/properties/enable_unsloth/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.enable_unsloth.type,parentSchema:schema11.properties.enable_unsloth,data:data105};
if(vErrors === null){
vErrors = [err179];
}
else {
vErrors.push(err179);
}
errors++;
}
}
if(data.benchmark !== undefined){
let data106 = data.benchmark;
if(typeof data106 !== "boolean"){
const err180 = {instancePath:instancePath+"/benchmark",schemaPath:"#/properties/benchmark/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema11.properties.benchmark.type,parentSchema:schema11.properties.benchmark,data:data106};
if(vErrors === null){
vErrors = [err180];
}
else {
vErrors.push(err180);
}
errors++;
}
}
}
else {
const err181 = {instancePath,schemaPath:"#/type",keyword:"type",params:{type: "object"},message:"must be object",schema:schema11.type,parentSchema:schema11,data};
if(vErrors === null){
vErrors = [err181];
}
else {
vErrors.push(err181);
}
errors++;
}
validate10.errors = vErrors;
return errors === 0;
}

export const validate_sparsity = validate11;
const schema12 = {"$schema":"http://json-schema.org/draft-07/schema#","$id":"urn:spft:config:sparsity","title":"Sparsity file of SparseLoRA","type":"object","properties":{"mode":{"description":"Who chooses the channels: svd_<rank>, calibrated_<rank>, static, dense, an oracle, or a registered name.","default":"none","type":"string","pattern":"^[A-Za-z][A-Za-z0-9_.:+-]*$"},"start_step":{"description":"Sparsity begins here: up to 1 a fraction of the steps, else a step.","default":0,"type":"number","minimum":0},"end_step":{"description":"Sparsity ends here: up to 1 a fraction of the steps, else a step.","default":1,"type":"number","minimum":0},"skip_output_tokens":{"description":"Tokens with a label are computed densely.","default":false,"type":"boolean"},"skip_sink_tokens":{"description":"So many first tokens of a sequence are computed densely.","default":0,"type":"integer","minimum":0},"skip_tail_tokens":{"description":"So many tokens before each labelled span, the one that predicts it among them, are computed densely.","default":0,"type":"integer","minimum":0},"skip_random_tokens":{"description":"Random tokens are computed densely, as many as have labels.","default":false,"type":"boolean"},"sparse_output_tokens":{"description":"Fraction of the labelled tokens that is sparse after all; these then have a say in which channels are kept.","default":0,"type":"number","minimum":0,"maximum":1},"sparse_lora_branch":{"description":"Adapters skip dropped channels too.","default":false,"type":"boolean"},"qk_per_head":{"description":"Oracles keep the same number of channels in every head.","default":false,"type":"boolean"},"qkvo_seq_avg":{"description":"Average each sequence before estimating q, k, v and o.","default":false,"type":"boolean"},"mlp_seq_avg":{"description":"Average each sequence before estimating the MLP.","default":true,"type":"boolean"},"score_tokens":{"description":"So many tokens of each sequence give the scores, 0: all; not given: 16 in calibrated modes, else as the _seq_avg keys say.","default":null,"type":["integer","null"],"minimum":0},"score_context_tokens":{"description":"Scores come from the sparse tokens alone, so that no label has a say; not given: true, but with compat: reference for svd_<rank>.","default":null,"type":["boolean","null"]},"compensation_rank":{"description":"What dropped MLP channels would have given is replaced by a linear estimate of this rank, fitted to a few batches of the data; 0: by nothing.","default":0,"type":"integer","minimum":0},"selection_interval":{"description":"Channels are chosen anew every so many steps and kept in between.","default":1,"type":"integer","minimum":1},"dense_every":{"description":"Every so many-th step is dense; 0: none.","default":0,"type":"integer","minimum":0},"gradient":{"description":"Of sparse rows, exact: of what was computed; cut: the adapters alone; straight_through: of the whole frozen product.","default":"exact","type":"string","enum":["exact","cut","straight_through"]},"planned_for":{"description":"Fingerprint of the model that the sparsities were planned for, by spft sparsity plan; a run of another model says so.","default":null,"type":["string","null"],"pattern":"\\S"},"predictor_basepath":{"description":"Directory in which predictors are looked up and stored.","default":null,"type":["string","null"],"pattern":"\\S"},"ffn_sparsity":{"description":"Short name of the MLP sparsities, for the name of the run.","default":null,"type":["string","null"],"pattern":"\\S"},"qkvo_sparsity":{"description":"Short name of the attention sparsities, for the name of the run.","default":null,"type":["string","null"],"pattern":"\\S"},"compat":{"description":"reference: repeat three defects of the original, so that published runs can be repeated.","default":"corrected","type":"string","enum":["corrected","reference"]},"channel_multiple":{"description":"Round the kept channels up to a multiple of this; chosen by the backend if not given.","default":null,"type":["integer","null"],"minimum":1},"sparsity":{"type":"object","description":"Sparsity (fraction of channels dropped) by layer: layers.N.mlp and layers.N.self_attn. Layers not named are dense.","patternProperties":{"^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$":{"type":"number","minimum":0,"exclusiveMaximum":1}},"additionalProperties":false}},"required":["sparsity"],"additionalProperties":false};
const pattern20 = new RegExp("^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$", "u");

function validate11(data, {instancePath="", parentData, parentDataProperty, rootData=data}={}){
/*# sourceURL="urn:spft:config:sparsity" */;
let vErrors = null;
let errors = 0;
if(data && typeof data == "object" && !Array.isArray(data)){
if(data.sparsity === undefined){
const err0 = {instancePath,schemaPath:"#/required",keyword:"required",params:{missingProperty: "sparsity"},message:"must have required property '"+"sparsity"+"'",schema:schema12.required,parentSchema:schema12,data};
if(vErrors === null){
vErrors = [err0];
}
else {
vErrors.push(err0);
}
errors++;
}
for(const key0 in data){
if(!(func2.call(schema12.properties, key0))){
const err1 = {instancePath,schemaPath:"#/additionalProperties",keyword:"additionalProperties",params:{additionalProperty: key0},message:"must NOT have additional properties",schema:false,parentSchema:schema12,data};
if(vErrors === null){
vErrors = [err1];
}
else {
vErrors.push(err1);
}
errors++;
}
}
if(data.mode !== undefined){
let data0 = data.mode;
if(typeof data0 === "string"){
if(!pattern13.test(data0)){
const err2 = {instancePath:instancePath+"/mode",schemaPath:"#/properties/mode/pattern",keyword:"pattern",params:{pattern: "^[A-Za-z][A-Za-z0-9_.:+-]*$"},message:"must match pattern \""+"^[A-Za-z][A-Za-z0-9_.:+-]*$"+"\"",schema:"^[A-Za-z][A-Za-z0-9_.:+-]*$",parentSchema:schema12.properties.mode,data:data0};
if(vErrors === null){
vErrors = [err2];
}
else {
vErrors.push(err2);
}
errors++;
}
}
else {
const err3 = {instancePath:instancePath+"/mode",schemaPath:"#/properties/mode/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema12.properties.mode.type,parentSchema:schema12.properties.mode,data:data0};
if(vErrors === null){
vErrors = [err3];
}
else {
vErrors.push(err3);
}
errors++;
}
}
if(data.start_step !== undefined){
let data1 = data.start_step;
if((typeof data1 == "number") && (isFinite(data1))){
if(data1 < 0 || isNaN(data1)){
const err4 = {instancePath:instancePath+"/start_step",schemaPath:"#/properties/start_step/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema12.properties.start_step,data:data1};
if(vErrors === null){
vErrors = [err4];
}
else {
vErrors.push(err4);
}
errors++;
}
}
else {
const err5 = {instancePath:instancePath+"/start_step",schemaPath:"#/properties/start_step/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema12.properties.start_step.type,parentSchema:schema12.properties.start_step,data:data1};
if(vErrors === null){
vErrors = [err5];
}
else {
vErrors.push(err5);
}
errors++;
}
}
if(data.end_step !== undefined){
let data2 = data.end_step;
if((typeof data2 == "number") && (isFinite(data2))){
if(data2 < 0 || isNaN(data2)){
const err6 = {instancePath:instancePath+"/end_step",schemaPath:"#/properties/end_step/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema12.properties.end_step,data:data2};
if(vErrors === null){
vErrors = [err6];
}
else {
vErrors.push(err6);
}
errors++;
}
}
else {
const err7 = {instancePath:instancePath+"/end_step",schemaPath:"#/properties/end_step/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema12.properties.end_step.type,parentSchema:schema12.properties.end_step,data:data2};
if(vErrors === null){
vErrors = [err7];
}
else {
vErrors.push(err7);
}
errors++;
}
}
if(data.skip_output_tokens !== undefined){
let data3 = data.skip_output_tokens;
if(typeof data3 !== "boolean"){
const err8 = {instancePath:instancePath+"/skip_output_tokens",schemaPath:"#/properties/skip_output_tokens/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema12.properties.skip_output_tokens.type,parentSchema:schema12.properties.skip_output_tokens,data:data3};
if(vErrors === null){
vErrors = [err8];
}
else {
vErrors.push(err8);
}
errors++;
}
}
if(data.skip_sink_tokens !== undefined){
let data4 = data.skip_sink_tokens;
if(!(((typeof data4 == "number") && (!(data4 % 1) && !isNaN(data4))) && (isFinite(data4)))){
const err9 = {instancePath:instancePath+"/skip_sink_tokens",schemaPath:"#/properties/skip_sink_tokens/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema12.properties.skip_sink_tokens.type,parentSchema:schema12.properties.skip_sink_tokens,data:data4};
if(vErrors === null){
vErrors = [err9];
}
else {
vErrors.push(err9);
}
errors++;
}
if((typeof data4 == "number") && (isFinite(data4))){
if(data4 < 0 || isNaN(data4)){
const err10 = {instancePath:instancePath+"/skip_sink_tokens",schemaPath:"#/properties/skip_sink_tokens/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema12.properties.skip_sink_tokens,data:data4};
if(vErrors === null){
vErrors = [err10];
}
else {
vErrors.push(err10);
}
errors++;
}
}
}
if(data.skip_tail_tokens !== undefined){
let data5 = data.skip_tail_tokens;
if(!(((typeof data5 == "number") && (!(data5 % 1) && !isNaN(data5))) && (isFinite(data5)))){
const err11 = {instancePath:instancePath+"/skip_tail_tokens",schemaPath:"#/properties/skip_tail_tokens/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema12.properties.skip_tail_tokens.type,parentSchema:schema12.properties.skip_tail_tokens,data:data5};
if(vErrors === null){
vErrors = [err11];
}
else {
vErrors.push(err11);
}
errors++;
}
if((typeof data5 == "number") && (isFinite(data5))){
if(data5 < 0 || isNaN(data5)){
const err12 = {instancePath:instancePath+"/skip_tail_tokens",schemaPath:"#/properties/skip_tail_tokens/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema12.properties.skip_tail_tokens,data:data5};
if(vErrors === null){
vErrors = [err12];
}
else {
vErrors.push(err12);
}
errors++;
}
}
}
if(data.skip_random_tokens !== undefined){
let data6 = data.skip_random_tokens;
if(typeof data6 !== "boolean"){
const err13 = {instancePath:instancePath+"/skip_random_tokens",schemaPath:"#/properties/skip_random_tokens/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema12.properties.skip_random_tokens.type,parentSchema:schema12.properties.skip_random_tokens,data:data6};
if(vErrors === null){
vErrors = [err13];
}
else {
vErrors.push(err13);
}
errors++;
}
}
if(data.sparse_output_tokens !== undefined){
let data7 = data.sparse_output_tokens;
if((typeof data7 == "number") && (isFinite(data7))){
if(data7 > 1 || isNaN(data7)){
const err14 = {instancePath:instancePath+"/sparse_output_tokens",schemaPath:"#/properties/sparse_output_tokens/maximum",keyword:"maximum",params:{comparison: "<=", limit: 1},message:"must be <= 1",schema:1,parentSchema:schema12.properties.sparse_output_tokens,data:data7};
if(vErrors === null){
vErrors = [err14];
}
else {
vErrors.push(err14);
}
errors++;
}
if(data7 < 0 || isNaN(data7)){
const err15 = {instancePath:instancePath+"/sparse_output_tokens",schemaPath:"#/properties/sparse_output_tokens/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema12.properties.sparse_output_tokens,data:data7};
if(vErrors === null){
vErrors = [err15];
}
else {
vErrors.push(err15);
}
errors++;
}
}
else {
const err16 = {instancePath:instancePath+"/sparse_output_tokens",schemaPath:"#/properties/sparse_output_tokens/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema12.properties.sparse_output_tokens.type,parentSchema:schema12.properties.sparse_output_tokens,data:data7};
if(vErrors === null){
vErrors = [err16];
}
else {
vErrors.push(err16);
}
errors++;
}
}
if(data.sparse_lora_branch !== undefined){
let data8 = data.sparse_lora_branch;
if(typeof data8 !== "boolean"){
const err17 = {instancePath:instancePath+"/sparse_lora_branch",schemaPath:"#/properties/sparse_lora_branch/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema12.properties.sparse_lora_branch.type,parentSchema:schema12.properties.sparse_lora_branch,data:data8};
if(vErrors === null){
vErrors = [err17];
}
else {
vErrors.push(err17);
}
errors++;
}
}
if(data.qk_per_head !== undefined){
let data9 = data.qk_per_head;
if(typeof data9 !== "boolean"){
const err18 = {instancePath:instancePath+"/qk_per_head",schemaPath:"#/properties/qk_per_head/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema12.properties.qk_per_head.type,parentSchema:schema12.properties.qk_per_head,data:data9};
if(vErrors === null){
vErrors = [err18];
}
else {
vErrors.push(err18);
}
errors++;
}
}
if(data.qkvo_seq_avg !== undefined){
let data10 = data.qkvo_seq_avg;
if(typeof data10 !== "boolean"){
const err19 = {instancePath:instancePath+"/qkvo_seq_avg",schemaPath:"#/properties/qkvo_seq_avg/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema12.properties.qkvo_seq_avg.type,parentSchema:schema12.properties.qkvo_seq_avg,data:data10};
if(vErrors === null){
vErrors = [err19];
}
else {
vErrors.push(err19);
}
errors++;
}
}
if(data.mlp_seq_avg !== undefined){
let data11 = data.mlp_seq_avg;
if(typeof data11 !== "boolean"){
const err20 = {instancePath:instancePath+"/mlp_seq_avg",schemaPath:"#/properties/mlp_seq_avg/type",keyword:"type",params:{type: "boolean"},message:"must be boolean",schema:schema12.properties.mlp_seq_avg.type,parentSchema:schema12.properties.mlp_seq_avg,data:data11};
if(vErrors === null){
vErrors = [err20];
}
else {
vErrors.push(err20);
}
errors++;
}
}
if(data.score_tokens !== undefined){
let data12 = data.score_tokens;
if((!(((typeof data12 == "number") && (!(data12 % 1) && !isNaN(data12))) && (isFinite(data12)))) && (data12 !== null)){
const err21 = {instancePath:instancePath+"/score_tokens",schemaPath:"#/properties/score_tokens/type",keyword:"type",params:{type: schema12.properties.score_tokens.type},message:"must be integer,null",schema:schema12.properties.score_tokens.type,parentSchema:schema12.properties.score_tokens,data:data12};
if(vErrors === null){
vErrors = [err21];
}
else {
vErrors.push(err21);
}
errors++;
}
if((typeof data12 == "number") && (isFinite(data12))){
if(data12 < 0 || isNaN(data12)){
const err22 = {instancePath:instancePath+"/score_tokens",schemaPath:"#/properties/score_tokens/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema12.properties.score_tokens,data:data12};
if(vErrors === null){
vErrors = [err22];
}
else {
vErrors.push(err22);
}
errors++;
}
}
}
if(data.score_context_tokens !== undefined){
let data13 = data.score_context_tokens;
if((typeof data13 !== "boolean") && (data13 !== null)){
const err23 = {instancePath:instancePath+"/score_context_tokens",schemaPath:"#/properties/score_context_tokens/type",keyword:"type",params:{type: schema12.properties.score_context_tokens.type},message:"must be boolean,null",schema:schema12.properties.score_context_tokens.type,parentSchema:schema12.properties.score_context_tokens,data:data13};
if(vErrors === null){
vErrors = [err23];
}
else {
vErrors.push(err23);
}
errors++;
}
}
if(data.compensation_rank !== undefined){
let data14 = data.compensation_rank;
if(!(((typeof data14 == "number") && (!(data14 % 1) && !isNaN(data14))) && (isFinite(data14)))){
const err24 = {instancePath:instancePath+"/compensation_rank",schemaPath:"#/properties/compensation_rank/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema12.properties.compensation_rank.type,parentSchema:schema12.properties.compensation_rank,data:data14};
if(vErrors === null){
vErrors = [err24];
}
else {
vErrors.push(err24);
}
errors++;
}
if((typeof data14 == "number") && (isFinite(data14))){
if(data14 < 0 || isNaN(data14)){
const err25 = {instancePath:instancePath+"/compensation_rank",schemaPath:"#/properties/compensation_rank/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema12.properties.compensation_rank,data:data14};
if(vErrors === null){
vErrors = [err25];
}
else {
vErrors.push(err25);
}
errors++;
}
}
}
if(data.selection_interval !== undefined){
let data15 = data.selection_interval;
if(!(((typeof data15 == "number") && (!(data15 % 1) && !isNaN(data15))) && (isFinite(data15)))){
const err26 = {instancePath:instancePath+"/selection_interval",schemaPath:"#/properties/selection_interval/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema12.properties.selection_interval.type,parentSchema:schema12.properties.selection_interval,data:data15};
if(vErrors === null){
vErrors = [err26];
}
else {
vErrors.push(err26);
}
errors++;
}
if((typeof data15 == "number") && (isFinite(data15))){
if(data15 < 1 || isNaN(data15)){
const err27 = {instancePath:instancePath+"/selection_interval",schemaPath:"#/properties/selection_interval/minimum",keyword:"minimum",params:{comparison: ">=", limit: 1},message:"must be >= 1",schema:1,parentSchema:schema12.properties.selection_interval,data:data15};
if(vErrors === null){
vErrors = [err27];
}
else {
vErrors.push(err27);
}
errors++;
}
}
}
if(data.dense_every !== undefined){
let data16 = data.dense_every;
if(!(((typeof data16 == "number") && (!(data16 % 1) && !isNaN(data16))) && (isFinite(data16)))){
const err28 = {instancePath:instancePath+"/dense_every",schemaPath:"#/properties/dense_every/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema12.properties.dense_every.type,parentSchema:schema12.properties.dense_every,data:data16};
if(vErrors === null){
vErrors = [err28];
}
else {
vErrors.push(err28);
}
errors++;
}
if((typeof data16 == "number") && (isFinite(data16))){
if(data16 < 0 || isNaN(data16)){
const err29 = {instancePath:instancePath+"/dense_every",schemaPath:"#/properties/dense_every/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema12.properties.dense_every,data:data16};
if(vErrors === null){
vErrors = [err29];
}
else {
vErrors.push(err29);
}
errors++;
}
}
}
if(data.gradient !== undefined){
let data17 = data.gradient;
if(typeof data17 !== "string"){
const err30 = {instancePath:instancePath+"/gradient",schemaPath:"#/properties/gradient/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema12.properties.gradient.type,parentSchema:schema12.properties.gradient,data:data17};
if(vErrors === null){
vErrors = [err30];
}
else {
vErrors.push(err30);
}
errors++;
}
if(!(((data17 === "exact") || (data17 === "cut")) || (data17 === "straight_through"))){
const err31 = {instancePath:instancePath+"/gradient",schemaPath:"#/properties/gradient/enum",keyword:"enum",params:{allowedValues: schema12.properties.gradient.enum},message:"must be equal to one of the allowed values",schema:schema12.properties.gradient.enum,parentSchema:schema12.properties.gradient,data:data17};
if(vErrors === null){
vErrors = [err31];
}
else {
vErrors.push(err31);
}
errors++;
}
}
if(data.planned_for !== undefined){
let data18 = data.planned_for;
if((typeof data18 !== "string") && (data18 !== null)){
const err32 = {instancePath:instancePath+"/planned_for",schemaPath:"#/properties/planned_for/type",keyword:"type",params:{type: schema12.properties.planned_for.type},message:"must be string,null",schema:schema12.properties.planned_for.type,parentSchema:schema12.properties.planned_for,data:data18};
if(vErrors === null){
vErrors = [err32];
}
else {
vErrors.push(err32);
}
errors++;
}
if(typeof data18 === "string"){
if(!pattern0.test(data18)){
const err33 = {instancePath:instancePath+"/planned_for",schemaPath:"#/properties/planned_for/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema12.properties.planned_for,data:data18};
if(vErrors === null){
vErrors = [err33];
}
else {
vErrors.push(err33);
}
errors++;
}
}
}
if(data.predictor_basepath !== undefined){
let data19 = data.predictor_basepath;
if((typeof data19 !== "string") && (data19 !== null)){
const err34 = {instancePath:instancePath+"/predictor_basepath",schemaPath:"#/properties/predictor_basepath/type",keyword:"type",params:{type: schema12.properties.predictor_basepath.type},message:"must be string,null",schema:schema12.properties.predictor_basepath.type,parentSchema:schema12.properties.predictor_basepath,data:data19};
if(vErrors === null){
vErrors = [err34];
}
else {
vErrors.push(err34);
}
errors++;
}
if(typeof data19 === "string"){
if(!pattern0.test(data19)){
const err35 = {instancePath:instancePath+"/predictor_basepath",schemaPath:"#/properties/predictor_basepath/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema12.properties.predictor_basepath,data:data19};
if(vErrors === null){
vErrors = [err35];
}
else {
vErrors.push(err35);
}
errors++;
}
}
}
if(data.ffn_sparsity !== undefined){
let data20 = data.ffn_sparsity;
if((typeof data20 !== "string") && (data20 !== null)){
const err36 = {instancePath:instancePath+"/ffn_sparsity",schemaPath:"#/properties/ffn_sparsity/type",keyword:"type",params:{type: schema12.properties.ffn_sparsity.type},message:"must be string,null",schema:schema12.properties.ffn_sparsity.type,parentSchema:schema12.properties.ffn_sparsity,data:data20};
if(vErrors === null){
vErrors = [err36];
}
else {
vErrors.push(err36);
}
errors++;
}
if(typeof data20 === "string"){
if(!pattern0.test(data20)){
const err37 = {instancePath:instancePath+"/ffn_sparsity",schemaPath:"#/properties/ffn_sparsity/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema12.properties.ffn_sparsity,data:data20};
if(vErrors === null){
vErrors = [err37];
}
else {
vErrors.push(err37);
}
errors++;
}
}
}
if(data.qkvo_sparsity !== undefined){
let data21 = data.qkvo_sparsity;
if((typeof data21 !== "string") && (data21 !== null)){
const err38 = {instancePath:instancePath+"/qkvo_sparsity",schemaPath:"#/properties/qkvo_sparsity/type",keyword:"type",params:{type: schema12.properties.qkvo_sparsity.type},message:"must be string,null",schema:schema12.properties.qkvo_sparsity.type,parentSchema:schema12.properties.qkvo_sparsity,data:data21};
if(vErrors === null){
vErrors = [err38];
}
else {
vErrors.push(err38);
}
errors++;
}
if(typeof data21 === "string"){
if(!pattern0.test(data21)){
const err39 = {instancePath:instancePath+"/qkvo_sparsity",schemaPath:"#/properties/qkvo_sparsity/pattern",keyword:"pattern",params:{pattern: "\\S"},message:"must match pattern \""+"\\S"+"\"",schema:"\\S",parentSchema:schema12.properties.qkvo_sparsity,data:data21};
if(vErrors === null){
vErrors = [err39];
}
else {
vErrors.push(err39);
}
errors++;
}
}
}
if(data.compat !== undefined){
let data22 = data.compat;
if(typeof data22 !== "string"){
const err40 = {instancePath:instancePath+"/compat",schemaPath:"#/properties/compat/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema12.properties.compat.type,parentSchema:schema12.properties.compat,data:data22};
if(vErrors === null){
vErrors = [err40];
}
else {
vErrors.push(err40);
}
errors++;
}
if(!((data22 === "corrected") || (data22 === "reference"))){
const err41 = {instancePath:instancePath+"/compat",schemaPath:"#/properties/compat/enum",keyword:"enum",params:{allowedValues: schema12.properties.compat.enum},message:"must be equal to one of the allowed values",schema:schema12.properties.compat.enum,parentSchema:schema12.properties.compat,data:data22};
if(vErrors === null){
vErrors = [err41];
}
else {
vErrors.push(err41);
}
errors++;
}
}
if(data.channel_multiple !== undefined){
let data23 = data.channel_multiple;
if((!(((typeof data23 == "number") && (!(data23 % 1) && !isNaN(data23))) && (isFinite(data23)))) && (data23 !== null)){
const err42 = {instancePath:instancePath+"/channel_multiple",schemaPath:"#/properties/channel_multiple/type",keyword:"type",params:{type: schema12.properties.channel_multiple.type},message:"must be integer,null",schema:schema12.properties.channel_multiple.type,parentSchema:schema12.properties.channel_multiple,data:data23};
if(vErrors === null){
vErrors = [err42];
}
else {
vErrors.push(err42);
}
errors++;
}
if((typeof data23 == "number") && (isFinite(data23))){
if(data23 < 1 || isNaN(data23)){
const err43 = {instancePath:instancePath+"/channel_multiple",schemaPath:"#/properties/channel_multiple/minimum",keyword:"minimum",params:{comparison: ">=", limit: 1},message:"must be >= 1",schema:1,parentSchema:schema12.properties.channel_multiple,data:data23};
if(vErrors === null){
vErrors = [err43];
}
else {
vErrors.push(err43);
}
errors++;
}
}
}
if(data.sparsity !== undefined){
let data24 = data.sparsity;
if(data24 && typeof data24 == "object" && !Array.isArray(data24)){
for(const key1 in data24){
if(!(pattern20.test(key1))){
const err44 = {instancePath:instancePath+"/sparsity",schemaPath:"#/properties/sparsity/additionalProperties",keyword:"additionalProperties",params:{additionalProperty: key1},message:"must NOT have additional properties",schema:false,parentSchema:schema12.properties.sparsity,data:data24};
if(vErrors === null){
vErrors = [err44];
}
else {
vErrors.push(err44);
}
errors++;
}
}
for(const key2 in data24){
if(pattern20.test(key2)){
let data25 = data24[key2];
if((typeof data25 == "number") && (isFinite(data25))){
if(data25 < 0 || isNaN(data25)){
const err45 = {instancePath:instancePath+"/sparsity/" + key2.replace(/~/g, "~0").replace(/\//g, "~1"),schemaPath:"#/properties/sparsity/patternProperties/%5E(model%5C.)%3Flayers%5C.(0%7C%5B1-9%5D%5B0-9%5D%7B0%2C5%7D)%5C.(mlp%7Cself_attn)%24/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema12.properties.sparsity.patternProperties["^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$"],data:data25};
if(vErrors === null){
vErrors = [err45];
}
else {
vErrors.push(err45);
}
errors++;
}
if(data25 >= 1 || isNaN(data25)){
const err46 = {instancePath:instancePath+"/sparsity/" + key2.replace(/~/g, "~0").replace(/\//g, "~1"),schemaPath:"#/properties/sparsity/patternProperties/%5E(model%5C.)%3Flayers%5C.(0%7C%5B1-9%5D%5B0-9%5D%7B0%2C5%7D)%5C.(mlp%7Cself_attn)%24/exclusiveMaximum",keyword:"exclusiveMaximum",params:{comparison: "<", limit: 1},message:"must be < 1",schema:1,parentSchema:schema12.properties.sparsity.patternProperties["^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$"],data:data25};
if(vErrors === null){
vErrors = [err46];
}
else {
vErrors.push(err46);
}
errors++;
}
}
else {
const err47 = {instancePath:instancePath+"/sparsity/" + key2.replace(/~/g, "~0").replace(/\//g, "~1"),schemaPath:"#/properties/sparsity/patternProperties/%5E(model%5C.)%3Flayers%5C.(0%7C%5B1-9%5D%5B0-9%5D%7B0%2C5%7D)%5C.(mlp%7Cself_attn)%24/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema12.properties.sparsity.patternProperties["^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$"].type,parentSchema:schema12.properties.sparsity.patternProperties["^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$"],data:data25};
if(vErrors === null){
vErrors = [err47];
}
else {
vErrors.push(err47);
}
errors++;
}
}
}
}
else {
const err48 = {instancePath:instancePath+"/sparsity",schemaPath:"#/properties/sparsity/type",keyword:"type",params:{type: "object"},message:"must be object",schema:schema12.properties.sparsity.type,parentSchema:schema12.properties.sparsity,data:data24};
if(vErrors === null){
vErrors = [err48];
}
else {
vErrors.push(err48);
}
errors++;
}
}
}
else {
const err49 = {instancePath,schemaPath:"#/type",keyword:"type",params:{type: "object"},message:"must be object",schema:schema12.type,parentSchema:schema12,data};
if(vErrors === null){
vErrors = [err49];
}
else {
vErrors.push(err49);
}
errors++;
}
validate11.errors = vErrors;
return errors === 0;
}

export const validate_hub = validate12;
const schema13 = {"$schema":"http://json-schema.org/draft-07/schema#","$id":"urn:spft:config:hub","title":"config.json of a SparseLoRA model on the hub","type":"object","properties":{"base_model":{"type":["string","null"],"description":"Hub id of the model that the predictors belong to."},"predictor_rank":{"type":"integer","minimum":0,"default":8,"description":"Rank of the predictors."},"predictor_mode":{"type":"string","pattern":"^[A-Za-z][A-Za-z0-9_.:+-]*$","description":"Mode of the predictors; svd_<rank> where it is not said."},"calibration_tokens":{"type":"integer","minimum":1,"description":"Tokens to which the predictors were fitted."},"calibration_data":{"type":["string","null"],"description":"Tells the data to which the predictors were fitted."},"start_step":{"description":"Sparsity begins here: up to 1 a fraction of the steps, else a step.","default":0,"type":"number","minimum":0},"end_step":{"description":"Sparsity ends here: up to 1 a fraction of the steps, else a step.","default":1,"type":"number","minimum":0},"modes":{"type":"object","description":"Sparsities to choose from, by name: o1 (conservative), o2 (aggressive).","minProperties":1,"additionalProperties":{"type":"object","properties":{"layer_sparsity":{"type":"object","description":"Sparsity (fraction of channels dropped) by layer: layers.N.mlp and layers.N.self_attn. Layers not named are dense.","patternProperties":{"^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$":{"type":"number","minimum":0,"exclusiveMaximum":1}},"additionalProperties":false}},"required":["layer_sparsity"],"additionalProperties":false}}},"required":["modes"],"additionalProperties":false};

function validate12(data, {instancePath="", parentData, parentDataProperty, rootData=data}={}){
/*# sourceURL="urn:spft:config:hub" */;
let vErrors = null;
let errors = 0;
if(data && typeof data == "object" && !Array.isArray(data)){
if(data.modes === undefined){
const err0 = {instancePath,schemaPath:"#/required",keyword:"required",params:{missingProperty: "modes"},message:"must have required property '"+"modes"+"'",schema:schema13.required,parentSchema:schema13,data};
if(vErrors === null){
vErrors = [err0];
}
else {
vErrors.push(err0);
}
errors++;
}
for(const key0 in data){
if(!((((((((key0 === "base_model") || (key0 === "predictor_rank")) || (key0 === "predictor_mode")) || (key0 === "calibration_tokens")) || (key0 === "calibration_data")) || (key0 === "start_step")) || (key0 === "end_step")) || (key0 === "modes"))){
const err1 = {instancePath,schemaPath:"#/additionalProperties",keyword:"additionalProperties",params:{additionalProperty: key0},message:"must NOT have additional properties",schema:false,parentSchema:schema13,data};
if(vErrors === null){
vErrors = [err1];
}
else {
vErrors.push(err1);
}
errors++;
}
}
if(data.base_model !== undefined){
let data0 = data.base_model;
if((typeof data0 !== "string") && (data0 !== null)){
const err2 = {instancePath:instancePath+"/base_model",schemaPath:"#/properties/base_model/type",keyword:"type",params:{type: schema13.properties.base_model.type},message:"must be string,null",schema:schema13.properties.base_model.type,parentSchema:schema13.properties.base_model,data:data0};
if(vErrors === null){
vErrors = [err2];
}
else {
vErrors.push(err2);
}
errors++;
}
}
if(data.predictor_rank !== undefined){
let data1 = data.predictor_rank;
if(!(((typeof data1 == "number") && (!(data1 % 1) && !isNaN(data1))) && (isFinite(data1)))){
const err3 = {instancePath:instancePath+"/predictor_rank",schemaPath:"#/properties/predictor_rank/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema13.properties.predictor_rank.type,parentSchema:schema13.properties.predictor_rank,data:data1};
if(vErrors === null){
vErrors = [err3];
}
else {
vErrors.push(err3);
}
errors++;
}
if((typeof data1 == "number") && (isFinite(data1))){
if(data1 < 0 || isNaN(data1)){
const err4 = {instancePath:instancePath+"/predictor_rank",schemaPath:"#/properties/predictor_rank/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema13.properties.predictor_rank,data:data1};
if(vErrors === null){
vErrors = [err4];
}
else {
vErrors.push(err4);
}
errors++;
}
}
}
if(data.predictor_mode !== undefined){
let data2 = data.predictor_mode;
if(typeof data2 === "string"){
if(!pattern13.test(data2)){
const err5 = {instancePath:instancePath+"/predictor_mode",schemaPath:"#/properties/predictor_mode/pattern",keyword:"pattern",params:{pattern: "^[A-Za-z][A-Za-z0-9_.:+-]*$"},message:"must match pattern \""+"^[A-Za-z][A-Za-z0-9_.:+-]*$"+"\"",schema:"^[A-Za-z][A-Za-z0-9_.:+-]*$",parentSchema:schema13.properties.predictor_mode,data:data2};
if(vErrors === null){
vErrors = [err5];
}
else {
vErrors.push(err5);
}
errors++;
}
}
else {
const err6 = {instancePath:instancePath+"/predictor_mode",schemaPath:"#/properties/predictor_mode/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema13.properties.predictor_mode.type,parentSchema:schema13.properties.predictor_mode,data:data2};
if(vErrors === null){
vErrors = [err6];
}
else {
vErrors.push(err6);
}
errors++;
}
}
if(data.calibration_tokens !== undefined){
let data3 = data.calibration_tokens;
if(!(((typeof data3 == "number") && (!(data3 % 1) && !isNaN(data3))) && (isFinite(data3)))){
const err7 = {instancePath:instancePath+"/calibration_tokens",schemaPath:"#/properties/calibration_tokens/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema13.properties.calibration_tokens.type,parentSchema:schema13.properties.calibration_tokens,data:data3};
if(vErrors === null){
vErrors = [err7];
}
else {
vErrors.push(err7);
}
errors++;
}
if((typeof data3 == "number") && (isFinite(data3))){
if(data3 < 1 || isNaN(data3)){
const err8 = {instancePath:instancePath+"/calibration_tokens",schemaPath:"#/properties/calibration_tokens/minimum",keyword:"minimum",params:{comparison: ">=", limit: 1},message:"must be >= 1",schema:1,parentSchema:schema13.properties.calibration_tokens,data:data3};
if(vErrors === null){
vErrors = [err8];
}
else {
vErrors.push(err8);
}
errors++;
}
}
}
if(data.calibration_data !== undefined){
let data4 = data.calibration_data;
if((typeof data4 !== "string") && (data4 !== null)){
const err9 = {instancePath:instancePath+"/calibration_data",schemaPath:"#/properties/calibration_data/type",keyword:"type",params:{type: schema13.properties.calibration_data.type},message:"must be string,null",schema:schema13.properties.calibration_data.type,parentSchema:schema13.properties.calibration_data,data:data4};
if(vErrors === null){
vErrors = [err9];
}
else {
vErrors.push(err9);
}
errors++;
}
}
if(data.start_step !== undefined){
let data5 = data.start_step;
if((typeof data5 == "number") && (isFinite(data5))){
if(data5 < 0 || isNaN(data5)){
const err10 = {instancePath:instancePath+"/start_step",schemaPath:"#/properties/start_step/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema13.properties.start_step,data:data5};
if(vErrors === null){
vErrors = [err10];
}
else {
vErrors.push(err10);
}
errors++;
}
}
else {
const err11 = {instancePath:instancePath+"/start_step",schemaPath:"#/properties/start_step/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema13.properties.start_step.type,parentSchema:schema13.properties.start_step,data:data5};
if(vErrors === null){
vErrors = [err11];
}
else {
vErrors.push(err11);
}
errors++;
}
}
if(data.end_step !== undefined){
let data6 = data.end_step;
if((typeof data6 == "number") && (isFinite(data6))){
if(data6 < 0 || isNaN(data6)){
const err12 = {instancePath:instancePath+"/end_step",schemaPath:"#/properties/end_step/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema13.properties.end_step,data:data6};
if(vErrors === null){
vErrors = [err12];
}
else {
vErrors.push(err12);
}
errors++;
}
}
else {
const err13 = {instancePath:instancePath+"/end_step",schemaPath:"#/properties/end_step/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema13.properties.end_step.type,parentSchema:schema13.properties.end_step,data:data6};
if(vErrors === null){
vErrors = [err13];
}
else {
vErrors.push(err13);
}
errors++;
}
}
if(data.modes !== undefined){
let data7 = data.modes;
if(data7 && typeof data7 == "object" && !Array.isArray(data7)){
if(Object.keys(data7).length < 1){
const err14 = {instancePath:instancePath+"/modes",schemaPath:"#/properties/modes/minProperties",keyword:"minProperties",params:{limit: 1},message:"must NOT have fewer than 1 properties",schema:1,parentSchema:schema13.properties.modes,data:data7};
if(vErrors === null){
vErrors = [err14];
}
else {
vErrors.push(err14);
}
errors++;
}
for(const key1 in data7){
let data8 = data7[key1];
if(data8 && typeof data8 == "object" && !Array.isArray(data8)){
if(data8.layer_sparsity === undefined){
const err15 = {instancePath:instancePath+"/modes/" + key1.replace(/~/g, "~0").replace(/\//g, "~1"),schemaPath:"#/properties/modes/additionalProperties/required",keyword:"required",params:{missingProperty: "layer_sparsity"},message:"must have required property '"+"layer_sparsity"+"'",schema:schema13.properties.modes.additionalProperties.required,parentSchema:schema13.properties.modes.additionalProperties,data:data8};
if(vErrors === null){
vErrors = [err15];
}
else {
vErrors.push(err15);
}
errors++;
}
for(const key2 in data8){
if(!(key2 === "layer_sparsity")){
const err16 = {instancePath:instancePath+"/modes/" + key1.replace(/~/g, "~0").replace(/\//g, "~1"),schemaPath:"#/properties/modes/additionalProperties/additionalProperties",keyword:"additionalProperties",params:{additionalProperty: key2},message:"must NOT have additional properties",schema:false,parentSchema:schema13.properties.modes.additionalProperties,data:data8};
if(vErrors === null){
vErrors = [err16];
}
else {
vErrors.push(err16);
}
errors++;
}
}
if(data8.layer_sparsity !== undefined){
let data9 = data8.layer_sparsity;
if(data9 && typeof data9 == "object" && !Array.isArray(data9)){
for(const key3 in data9){
if(!(pattern20.test(key3))){
const err17 = {instancePath:instancePath+"/modes/" + key1.replace(/~/g, "~0").replace(/\//g, "~1")+"/layer_sparsity",schemaPath:"#/properties/modes/additionalProperties/properties/layer_sparsity/additionalProperties",keyword:"additionalProperties",params:{additionalProperty: key3},message:"must NOT have additional properties",schema:false,parentSchema:schema13.properties.modes.additionalProperties.properties.layer_sparsity,data:data9};
if(vErrors === null){
vErrors = [err17];
}
else {
vErrors.push(err17);
}
errors++;
}
}
for(const key4 in data9){
if(pattern20.test(key4)){
let data10 = data9[key4];
if((typeof data10 == "number") && (isFinite(data10))){
if(data10 < 0 || isNaN(data10)){
const err18 = {instancePath:instancePath+"/modes/" + key1.replace(/~/g, "~0").replace(/\//g, "~1")+"/layer_sparsity/" + key4.replace(/~/g, "~0").replace(/\//g, "~1"),schemaPath:"#/properties/modes/additionalProperties/properties/layer_sparsity/patternProperties/%5E(model%5C.)%3Flayers%5C.(0%7C%5B1-9%5D%5B0-9%5D%7B0%2C5%7D)%5C.(mlp%7Cself_attn)%24/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema13.properties.modes.additionalProperties.properties.layer_sparsity.patternProperties["^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$"],data:data10};
if(vErrors === null){
vErrors = [err18];
}
else {
vErrors.push(err18);
}
errors++;
}
if(data10 >= 1 || isNaN(data10)){
const err19 = {instancePath:instancePath+"/modes/" + key1.replace(/~/g, "~0").replace(/\//g, "~1")+"/layer_sparsity/" + key4.replace(/~/g, "~0").replace(/\//g, "~1"),schemaPath:"#/properties/modes/additionalProperties/properties/layer_sparsity/patternProperties/%5E(model%5C.)%3Flayers%5C.(0%7C%5B1-9%5D%5B0-9%5D%7B0%2C5%7D)%5C.(mlp%7Cself_attn)%24/exclusiveMaximum",keyword:"exclusiveMaximum",params:{comparison: "<", limit: 1},message:"must be < 1",schema:1,parentSchema:schema13.properties.modes.additionalProperties.properties.layer_sparsity.patternProperties["^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$"],data:data10};
if(vErrors === null){
vErrors = [err19];
}
else {
vErrors.push(err19);
}
errors++;
}
}
else {
const err20 = {instancePath:instancePath+"/modes/" + key1.replace(/~/g, "~0").replace(/\//g, "~1")+"/layer_sparsity/" + key4.replace(/~/g, "~0").replace(/\//g, "~1"),schemaPath:"#/properties/modes/additionalProperties/properties/layer_sparsity/patternProperties/%5E(model%5C.)%3Flayers%5C.(0%7C%5B1-9%5D%5B0-9%5D%7B0%2C5%7D)%5C.(mlp%7Cself_attn)%24/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema13.properties.modes.additionalProperties.properties.layer_sparsity.patternProperties["^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$"].type,parentSchema:schema13.properties.modes.additionalProperties.properties.layer_sparsity.patternProperties["^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$"],data:data10};
if(vErrors === null){
vErrors = [err20];
}
else {
vErrors.push(err20);
}
errors++;
}
}
}
}
else {
const err21 = {instancePath:instancePath+"/modes/" + key1.replace(/~/g, "~0").replace(/\//g, "~1")+"/layer_sparsity",schemaPath:"#/properties/modes/additionalProperties/properties/layer_sparsity/type",keyword:"type",params:{type: "object"},message:"must be object",schema:schema13.properties.modes.additionalProperties.properties.layer_sparsity.type,parentSchema:schema13.properties.modes.additionalProperties.properties.layer_sparsity,data:data9};
if(vErrors === null){
vErrors = [err21];
}
else {
vErrors.push(err21);
}
errors++;
}
}
}
else {
const err22 = {instancePath:instancePath+"/modes/" + key1.replace(/~/g, "~0").replace(/\//g, "~1"),schemaPath:"#/properties/modes/additionalProperties/type",keyword:"type",params:{type: "object"},message:"must be object",schema:schema13.properties.modes.additionalProperties.type,parentSchema:schema13.properties.modes.additionalProperties,data:data8};
if(vErrors === null){
vErrors = [err22];
}
else {
vErrors.push(err22);
}
errors++;
}
}
}
else {
const err23 = {instancePath:instancePath+"/modes",schemaPath:"#/properties/modes/type",keyword:"type",params:{type: "object"},message:"must be object",schema:schema13.properties.modes.type,parentSchema:schema13.properties.modes,data:data7};
if(vErrors === null){
vErrors = [err23];
}
else {
vErrors.push(err23);
}
errors++;
}
}
}
else {
const err24 = {instancePath,schemaPath:"#/type",keyword:"type",params:{type: "object"},message:"must be object",schema:schema13.type,parentSchema:schema13,data};
if(vErrors === null){
vErrors = [err24];
}
else {
vErrors.push(err24);
}
errors++;
}
validate12.errors = vErrors;
return errors === 0;
}

export const validate_hub_run = validate13;
const schema14 = {"$schema":"http://json-schema.org/draft-07/schema#","$id":"urn:spft:config:hub-run","title":"sparselora_config.json of a SparseLoRA run: one mode of the hub layout","type":"object","properties":{"layer_sparsity":{"type":"object","description":"Sparsity (fraction of channels dropped) by layer: layers.N.mlp and layers.N.self_attn. Layers not named are dense.","patternProperties":{"^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$":{"type":"number","minimum":0,"exclusiveMaximum":1}},"additionalProperties":false},"predictor_rank":{"type":"integer","minimum":0,"default":8,"description":"Rank of the predictors."},"predictor_mode":{"type":"string","pattern":"^[A-Za-z][A-Za-z0-9_.:+-]*$","description":"Mode of the predictors; svd_<rank> where it is not said."},"calibration_tokens":{"type":"integer","minimum":1,"description":"Tokens to which the predictors were fitted."},"calibration_data":{"type":["string","null"],"description":"Tells the data to which the predictors were fitted."},"start_step":{"description":"Sparsity begins here: up to 1 a fraction of the steps, else a step.","default":0,"type":"number","minimum":0},"end_step":{"description":"Sparsity ends here: up to 1 a fraction of the steps, else a step.","default":1,"type":"number","minimum":0},"path":{"type":["string","null"],"description":"Where the predictors are."}},"required":["layer_sparsity"],"additionalProperties":false};

function validate13(data, {instancePath="", parentData, parentDataProperty, rootData=data}={}){
/*# sourceURL="urn:spft:config:hub-run" */;
let vErrors = null;
let errors = 0;
if(data && typeof data == "object" && !Array.isArray(data)){
if(data.layer_sparsity === undefined){
const err0 = {instancePath,schemaPath:"#/required",keyword:"required",params:{missingProperty: "layer_sparsity"},message:"must have required property '"+"layer_sparsity"+"'",schema:schema14.required,parentSchema:schema14,data};
if(vErrors === null){
vErrors = [err0];
}
else {
vErrors.push(err0);
}
errors++;
}
for(const key0 in data){
if(!((((((((key0 === "layer_sparsity") || (key0 === "predictor_rank")) || (key0 === "predictor_mode")) || (key0 === "calibration_tokens")) || (key0 === "calibration_data")) || (key0 === "start_step")) || (key0 === "end_step")) || (key0 === "path"))){
const err1 = {instancePath,schemaPath:"#/additionalProperties",keyword:"additionalProperties",params:{additionalProperty: key0},message:"must NOT have additional properties",schema:false,parentSchema:schema14,data};
if(vErrors === null){
vErrors = [err1];
}
else {
vErrors.push(err1);
}
errors++;
}
}
if(data.layer_sparsity !== undefined){
let data0 = data.layer_sparsity;
if(data0 && typeof data0 == "object" && !Array.isArray(data0)){
for(const key1 in data0){
if(!(pattern20.test(key1))){
const err2 = {instancePath:instancePath+"/layer_sparsity",schemaPath:"#/properties/layer_sparsity/additionalProperties",keyword:"additionalProperties",params:{additionalProperty: key1},message:"must NOT have additional properties",schema:false,parentSchema:schema14.properties.layer_sparsity,data:data0};
if(vErrors === null){
vErrors = [err2];
}
else {
vErrors.push(err2);
}
errors++;
}
}
for(const key2 in data0){
if(pattern20.test(key2)){
let data1 = data0[key2];
if((typeof data1 == "number") && (isFinite(data1))){
if(data1 < 0 || isNaN(data1)){
const err3 = {instancePath:instancePath+"/layer_sparsity/" + key2.replace(/~/g, "~0").replace(/\//g, "~1"),schemaPath:"#/properties/layer_sparsity/patternProperties/%5E(model%5C.)%3Flayers%5C.(0%7C%5B1-9%5D%5B0-9%5D%7B0%2C5%7D)%5C.(mlp%7Cself_attn)%24/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema14.properties.layer_sparsity.patternProperties["^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$"],data:data1};
if(vErrors === null){
vErrors = [err3];
}
else {
vErrors.push(err3);
}
errors++;
}
if(data1 >= 1 || isNaN(data1)){
const err4 = {instancePath:instancePath+"/layer_sparsity/" + key2.replace(/~/g, "~0").replace(/\//g, "~1"),schemaPath:"#/properties/layer_sparsity/patternProperties/%5E(model%5C.)%3Flayers%5C.(0%7C%5B1-9%5D%5B0-9%5D%7B0%2C5%7D)%5C.(mlp%7Cself_attn)%24/exclusiveMaximum",keyword:"exclusiveMaximum",params:{comparison: "<", limit: 1},message:"must be < 1",schema:1,parentSchema:schema14.properties.layer_sparsity.patternProperties["^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$"],data:data1};
if(vErrors === null){
vErrors = [err4];
}
else {
vErrors.push(err4);
}
errors++;
}
}
else {
const err5 = {instancePath:instancePath+"/layer_sparsity/" + key2.replace(/~/g, "~0").replace(/\//g, "~1"),schemaPath:"#/properties/layer_sparsity/patternProperties/%5E(model%5C.)%3Flayers%5C.(0%7C%5B1-9%5D%5B0-9%5D%7B0%2C5%7D)%5C.(mlp%7Cself_attn)%24/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema14.properties.layer_sparsity.patternProperties["^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$"].type,parentSchema:schema14.properties.layer_sparsity.patternProperties["^(model\\.)?layers\\.(0|[1-9][0-9]{0,5})\\.(mlp|self_attn)$"],data:data1};
if(vErrors === null){
vErrors = [err5];
}
else {
vErrors.push(err5);
}
errors++;
}
}
}
}
else {
const err6 = {instancePath:instancePath+"/layer_sparsity",schemaPath:"#/properties/layer_sparsity/type",keyword:"type",params:{type: "object"},message:"must be object",schema:schema14.properties.layer_sparsity.type,parentSchema:schema14.properties.layer_sparsity,data:data0};
if(vErrors === null){
vErrors = [err6];
}
else {
vErrors.push(err6);
}
errors++;
}
}
if(data.predictor_rank !== undefined){
let data2 = data.predictor_rank;
if(!(((typeof data2 == "number") && (!(data2 % 1) && !isNaN(data2))) && (isFinite(data2)))){
const err7 = {instancePath:instancePath+"/predictor_rank",schemaPath:"#/properties/predictor_rank/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema14.properties.predictor_rank.type,parentSchema:schema14.properties.predictor_rank,data:data2};
if(vErrors === null){
vErrors = [err7];
}
else {
vErrors.push(err7);
}
errors++;
}
if((typeof data2 == "number") && (isFinite(data2))){
if(data2 < 0 || isNaN(data2)){
const err8 = {instancePath:instancePath+"/predictor_rank",schemaPath:"#/properties/predictor_rank/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema14.properties.predictor_rank,data:data2};
if(vErrors === null){
vErrors = [err8];
}
else {
vErrors.push(err8);
}
errors++;
}
}
}
if(data.predictor_mode !== undefined){
let data3 = data.predictor_mode;
if(typeof data3 === "string"){
if(!pattern13.test(data3)){
const err9 = {instancePath:instancePath+"/predictor_mode",schemaPath:"#/properties/predictor_mode/pattern",keyword:"pattern",params:{pattern: "^[A-Za-z][A-Za-z0-9_.:+-]*$"},message:"must match pattern \""+"^[A-Za-z][A-Za-z0-9_.:+-]*$"+"\"",schema:"^[A-Za-z][A-Za-z0-9_.:+-]*$",parentSchema:schema14.properties.predictor_mode,data:data3};
if(vErrors === null){
vErrors = [err9];
}
else {
vErrors.push(err9);
}
errors++;
}
}
else {
const err10 = {instancePath:instancePath+"/predictor_mode",schemaPath:"#/properties/predictor_mode/type",keyword:"type",params:{type: "string"},message:"must be string",schema:schema14.properties.predictor_mode.type,parentSchema:schema14.properties.predictor_mode,data:data3};
if(vErrors === null){
vErrors = [err10];
}
else {
vErrors.push(err10);
}
errors++;
}
}
if(data.calibration_tokens !== undefined){
let data4 = data.calibration_tokens;
if(!(((typeof data4 == "number") && (!(data4 % 1) && !isNaN(data4))) && (isFinite(data4)))){
const err11 = {instancePath:instancePath+"/calibration_tokens",schemaPath:"#/properties/calibration_tokens/type",keyword:"type",params:{type: "integer"},message:"must be integer",schema:schema14.properties.calibration_tokens.type,parentSchema:schema14.properties.calibration_tokens,data:data4};
if(vErrors === null){
vErrors = [err11];
}
else {
vErrors.push(err11);
}
errors++;
}
if((typeof data4 == "number") && (isFinite(data4))){
if(data4 < 1 || isNaN(data4)){
const err12 = {instancePath:instancePath+"/calibration_tokens",schemaPath:"#/properties/calibration_tokens/minimum",keyword:"minimum",params:{comparison: ">=", limit: 1},message:"must be >= 1",schema:1,parentSchema:schema14.properties.calibration_tokens,data:data4};
if(vErrors === null){
vErrors = [err12];
}
else {
vErrors.push(err12);
}
errors++;
}
}
}
if(data.calibration_data !== undefined){
let data5 = data.calibration_data;
if((typeof data5 !== "string") && (data5 !== null)){
const err13 = {instancePath:instancePath+"/calibration_data",schemaPath:"#/properties/calibration_data/type",keyword:"type",params:{type: schema14.properties.calibration_data.type},message:"must be string,null",schema:schema14.properties.calibration_data.type,parentSchema:schema14.properties.calibration_data,data:data5};
if(vErrors === null){
vErrors = [err13];
}
else {
vErrors.push(err13);
}
errors++;
}
}
if(data.start_step !== undefined){
let data6 = data.start_step;
if((typeof data6 == "number") && (isFinite(data6))){
if(data6 < 0 || isNaN(data6)){
const err14 = {instancePath:instancePath+"/start_step",schemaPath:"#/properties/start_step/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema14.properties.start_step,data:data6};
if(vErrors === null){
vErrors = [err14];
}
else {
vErrors.push(err14);
}
errors++;
}
}
else {
const err15 = {instancePath:instancePath+"/start_step",schemaPath:"#/properties/start_step/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema14.properties.start_step.type,parentSchema:schema14.properties.start_step,data:data6};
if(vErrors === null){
vErrors = [err15];
}
else {
vErrors.push(err15);
}
errors++;
}
}
if(data.end_step !== undefined){
let data7 = data.end_step;
if((typeof data7 == "number") && (isFinite(data7))){
if(data7 < 0 || isNaN(data7)){
const err16 = {instancePath:instancePath+"/end_step",schemaPath:"#/properties/end_step/minimum",keyword:"minimum",params:{comparison: ">=", limit: 0},message:"must be >= 0",schema:0,parentSchema:schema14.properties.end_step,data:data7};
if(vErrors === null){
vErrors = [err16];
}
else {
vErrors.push(err16);
}
errors++;
}
}
else {
const err17 = {instancePath:instancePath+"/end_step",schemaPath:"#/properties/end_step/type",keyword:"type",params:{type: "number"},message:"must be number",schema:schema14.properties.end_step.type,parentSchema:schema14.properties.end_step,data:data7};
if(vErrors === null){
vErrors = [err17];
}
else {
vErrors.push(err17);
}
errors++;
}
}
if(data.path !== undefined){
let data8 = data.path;
if((typeof data8 !== "string") && (data8 !== null)){
const err18 = {instancePath:instancePath+"/path",schemaPath:"#/properties/path/type",keyword:"type",params:{type: schema14.properties.path.type},message:"must be string,null",schema:schema14.properties.path.type,parentSchema:schema14.properties.path,data:data8};
if(vErrors === null){
vErrors = [err18];
}
else {
vErrors.push(err18);
}
errors++;
}
}
}
else {
const err19 = {instancePath,schemaPath:"#/type",keyword:"type",params:{type: "object"},message:"must be object",schema:schema14.type,parentSchema:schema14,data};
if(vErrors === null){
vErrors = [err19];
}
else {
vErrors.push(err19);
}
errors++;
}
validate13.errors = vErrors;
return errors === 0;
}
