// AdamW as PyTorch has it, of one number.
struct Numbers { decay: f32, beta1: f32, beta2: f32, rest1: f32, rest2: f32, epsilon: f32, stepSize: f32, rootCorrection: f32 }
// Whether what differs from step to step is in `recorded`.
override RECORDED: bool = false;

// Of parameters that begin with these words, as a uniform buffer may not have a struct within them anywhere.
fn numbers() -> Numbers {
  var all = Numbers(
    params.decay, params.beta1, params.beta2, params.rest1, params.rest2, params.epsilon, params.stepSize, params.rootCorrection,
  );
  if (RECORDED) {
    all.decay = recorded[0];
    all.stepSize = recorded[1];
    all.rootCorrection = recorded[2];
  }
  return all;
}

struct Updated { parameter: f32, first: f32, second: f32 }

fn updated(n: Numbers, parameter: f32, gradient: f32, first: f32, second: f32) -> Updated {
  let m = first * n.beta1 + gradient * n.rest1;
  let v = second * n.beta2 + gradient * gradient * n.rest2;
  return Updated(parameter * n.decay - m / (sqrt(v) / n.rootCorrection + n.epsilon) * n.stepSize, m, v);
}
