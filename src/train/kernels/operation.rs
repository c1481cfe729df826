//! Operations on one to three tensors, as candle's graph takes them.

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail,
};

use super::tape;

/// A function of one to three tensors, such as `x`, a weight and a bias, with its gradients.
pub(super) trait Operation: Send + Sync {
    /// What candle's errors call it.
    fn name(&self) -> &'static str;

    /// The output, from the inputs in order.
    fn forward(&self, inputs: &[(&CpuStorage, &Layout)]) -> Result<(CpuStorage, Shape)>;

    /// The gradient by each input, in order, from what flows into the output; `None` where nothing
    /// asks for it.
    fn backward(&self, inputs: &[&Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>>;
}

/// Computes an operation and writes it down: on the tape where one runs, else in candle's graph.
pub(super) fn apply(operation: impl Operation + 'static, inputs: &[&Tensor]) -> Result<Tensor> {
    if tape::is_running() && inputs.iter().any(|input| input.track_op()) {
        return tape::record(Box::new(operation), inputs);
    }
    match inputs {
        [x] => x.apply_op1(Node(operation)),
        [x, y] => x.apply_op2(y, Node(operation)),
        [x, y, z] => x.apply_op3(y, z, Node(operation)),
        _ => bail!("candle has no operations on {} tensors", inputs.len()),
    }
}

/// An operation in candle's graph.
struct Node<T>(T);

impl<T: Operation> CustomOp1 for Node<T> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        self.0.forward(&[(x, lx)])
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(self.0.backward(&[x], grad)?.into_iter().next().flatten())
    }
}

impl<T: Operation> CustomOp2 for Node<T> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.0.forward(&[(x, lx), (w, lw)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let mut gradients = self.0.backward(&[x, w], grad)?.into_iter();
        Ok((gradients.next().flatten(), gradients.next().flatten()))
    }
}

impl<T: Operation> CustomOp3 for Node<T> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.0.forward(&[(x, lx), (w, lw), (b, lb)])
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let mut gradients = self.0.backward(&[x, w, b], grad)?.into_iter();
        Ok((gradients.next().flatten(), gradients.next().flatten(), gradients.next().flatten()))
    }
}
