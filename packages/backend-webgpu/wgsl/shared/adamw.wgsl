// AdamW as PyTorch has it, of one number.
struct Numbers { decay: f32, beta1: f32, beta2: f32, rest1: f32, rest2: f32, epsilon: f32, stepSize: f32, rootCorrection: f32 }
// Of parameters that begin with these words, as a uniform buffer may not have a struct within them anywhere.
fn numbersOf(p: Params) -> Numbers {
  return Numbers(p.decay, p.beta1, p.beta2, p.rest1, p.rest2, p.epsilon, p.stepSize, p.rootCorrection);
}

struct Updated { parameter: f32, first: f32, second: f32 }

fn updated(n: Numbers, parameter: f32, gradient: f32, first: f32, second: f32) -> Updated {
  let m = first * n.beta1 + gradient * n.rest1;
  let v = second * n.beta2 + gradient * gradient * n.rest2;
  return Updated(parameter * n.decay - m / (sqrt(v) / n.rootCorrection + n.epsilon) * n.stepSize, m, v);
}
