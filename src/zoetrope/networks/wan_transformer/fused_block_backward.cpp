#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "zoetrope/kernels/column_sums.h"
#include "zoetrope/kernels/gated_sum.h"
#include "zoetrope/networks/wan_transformer/fused_block_passes.h"
#include "zoetrope/networks/wan_transformer/fused_region_attention.h"

namespace zoetrope {
namespace {

/// Where the gradients of a norm's modulation and of the gate before it go.
struct ModulationGradients {
  at::Tensor d_multiplier;
  at::Tensor d_shift;
  at::Tensor d_gate;  ///< undefined without a gate
};

class BackwardPass {
 public:
  BackwardPass(const FusedBlock& block, const at::Tensor& hidden_BND, const BlockContext& context,
               BlockActivations& activations)
      : block_(block),
        p_(block.parameters),
        context_(context),
        a_(activations),
        batch_(hidden_BND.size(0)),
        width_(hidden_BND.size(2)),
        fp32_(hidden_BND.options()),
        compute_(fp32_.dtype(p_.self_q.weight->value.scalar_type())),
        shape_{hidden_BND.numel() / width_, width_,
               hidden_BND.size(1) / context.modulation_BM6D.size(1)},
        overwrite_(block.group.gradient_is_zero),
        d_modulation_(at::empty({6, shape_.num_groups(), width_}, fp32_)) {}

  BlockGradients run(const at::Tensor& d_output_BND) {
    d_hidden_ = feed_forward(d_output_BND.view({-1, width_}));
    cross_attention();
    self_attention();
    block_.group.gradient_is_zero = false;
    result_.hidden = d_hidden_.view({batch_, -1, width_});
    if (p_.scale_shift_table->gradient.defined()) {
      kernels::add_sums(p_.scale_shift_table->gradient, d_modulation_.sum(1));
    }
    result_.modulation = d_modulation_.transpose(0, 1)
                             .to(context_.modulation_BM6D.scalar_type())
                             .reshape(context_.modulation_BM6D.sizes());
    return std::move(result_);
  }

 private:
  at::Tensor compute_rows(int64_t width) const { return at::empty({shape_.rows, width}, compute_); }
  at::Tensor row(int64_t width) const { return at::empty({1, width}, fp32_); }
  static bool trained(const LinearParameters& linear) { return linear.weight->gradient.defined(); }

  void parameter_gradients(const FusedLinear& linear, const at::Tensor& x,
                           const at::Tensor& d_out) const {
    linear.weight_gradient(x, d_out, overwrite_);
  }

  /// From the block's output down to the sum behind the cross attention, whose branch's gradient is
  /// left in d_branch_.
  at::Tensor feed_forward(const at::Tensor& d_output) {
    const at::Tensor d_branch = compute_rows(width_);
    const at::Tensor d_bias_out = row(width_);
    kernels::gated_sum_backward(shape_, d_output, a_.feed_forward, a_.modulation[5],
                                {d_branch, d_modulation_[5], d_bias_out});
    block_.feed_forward_out.bias_gradient(d_bias_out);
    parameter_gradients(block_.feed_forward_out, a_.after_gelu, d_branch);
    const at::Tensor d_before = a_.after_gelu;  // no longer needed
    block_.feed_forward_out.input_gradient_gelu(d_branch, a_.before_gelu, d_before);
    parameter_gradients(block_.feed_forward_in, a_.norm3.normed, d_before);
    if (trained(p_.feed_forward_in))
      block_.feed_forward_in.bias_gradient(kernels::column_sums(d_before));
    const at::Tensor d_normed = a_.norm3.normed;
    block_.feed_forward_in.input_gradient(d_before, d_normed);
    a_.after_gelu.reset();
    a_.before_gelu.reset();
    const ModulationGradients d_modulation{d_modulation_[4], d_modulation_[3], {}};
    if (a_.norm3.branch.defined()) {
      const at::Tensor d_sum = is_steered(p_, context_) ? actions_gradient(d_output) : d_output;
      return norm_gradient(a_.norm3, d_sum, d_normed, d_modulation, block_.cross_out);
    }
    // The actions came between the cross attention and the norm.
    const at::Tensor d_steered =
        norm_gradient(a_.norm3, d_output, d_normed, d_modulation, block_.cross_out);
    at::Tensor d_sum = actions_gradient(d_steered);
    d_branch_ = d_sum.to(compute_);
    block_.cross_out.bias_gradient(kernels::column_sums(d_branch_));
    return d_sum;
  }

  /// From behind the action module to before it; autograd adds to its parameters' gradients.
  at::Tensor actions_gradient(const at::Tensor& d_after) {
    torch::autograd::backward({a_.after_actions}, {d_after.view({batch_, -1, width_})});
    a_.after_actions.reset();
    return a_.before_actions.grad().contiguous().view({-1, width_});
  }

  /// Gradient of a norm and of the residual branch before it, whose projection's bias gradient is
  /// added. Leaves the branch's gradient in d_branch_.
  at::Tensor norm_gradient(const kernels::ResidualNorm& norm, const at::Tensor& d_direct,
                           const at::Tensor& d_normed, const ModulationGradients& modulation,
                           const FusedLinear& branch_projection) {
    kernels::ResidualNormGradient gradient;
    gradient.d_sum_direct = d_direct;
    gradient.d_normed = d_normed;
    gradient.d_hidden = at::empty_like(d_direct);
    gradient.d_multiplier = modulation.d_multiplier;
    gradient.d_shift = modulation.d_shift;
    gradient.d_gate = modulation.d_gate;
    if (norm.branch.defined()) {
      d_branch_ = compute_rows(width_);
      gradient.d_branch = d_branch_;
      gradient.d_branch_sum = row(width_);
    }
    kernels::residual_norm_backward(shape_, norm, gradient);
    if (norm.branch.defined()) branch_projection.bias_gradient(gradient.d_branch_sum);
    return gradient.d_hidden;
  }

  /// d_hidden_ at norm3's sum -> at norm2's sum.
  void cross_attention() {
    parameter_gradients(block_.cross_out, a_.attended, d_branch_);
    const at::Tensor d_attended = compute_rows(width_);
    block_.cross_out.input_gradient(d_branch_, d_attended);
    const at::Tensor d_query = compute_rows(width_);
    result_.text = tokens_gradient(a_.text, block_.cross_kv, p_.cross_norm_k, context_.text_BLD,
                                   d_attended, d_query);
    if (context_.image_BLD.defined()) {
      const at::Tensor d_image_query = compute_rows(width_);
      result_.image = tokens_gradient(a_.image, block_.image_kv, p_.image_norm_k,
                                      context_.image_BLD, d_attended, d_image_query);
      d_query.add_(d_image_query);
    }
    const at::Tensor d_bias_q =
        heads_gradient(a_.text.query_norm, p_.cross_norm_q, d_query, d_query);
    block_.cross_q.bias_gradient(d_bias_q);
    parameter_gradients(block_.cross_q, a_.norm2.normed, d_query);
    const at::Tensor d_normed = a_.norm2.normed;
    block_.cross_q.input_gradient(d_query, d_normed);
    const at::Tensor d_weight = row(width_);
    const at::Tensor d_bias = row(width_);
    d_hidden_ = norm_gradient(a_.norm2, d_hidden_, d_normed, {d_weight, d_bias, d_modulation_[2]},
                              block_.self_out);
    add_to(p_.cross_norm.weight, d_weight);
    add_to(p_.cross_norm.bias, d_bias);
  }

  static void add_to(const Parameter* parameter, const at::Tensor& sums) {
    if (parameter->gradient.defined()) kernels::add_sums(parameter->gradient, sums);
  }

  /// Gradient through an RMSNorm (and RoPE) of queries or keys; the norm's weight gradient is
  /// added, the sum of d_x (the projection's bias gradient) returned.
  at::Tensor heads_gradient(const kernels::RmsRope& norm, const Parameter* weight,
                            const at::Tensor& d_out, const at::Tensor& d_x) const {
    const kernels::RmsRopeGradient gradient{d_out, d_x, row(width_), row(width_)};
    kernels::rms_rope_backward(norm, gradient);
    add_to(weight, gradient.d_weight);
    return gradient.d_x_sum;
  }

  void attention_gradient(const AttentionActivations& attention, const at::Tensor& d_out,
                          const at::Tensor& d_query, const at::Tensor& d_key,
                          const at::Tensor& d_value) const {
    kernels::packed_attention_backward(
        element_of(attention.out), attention_shape(block_.config, batch_, attention),
        attention_operands(attention),
        {head_tokens(d_out), head_tokens(d_query), head_tokens(d_key), head_tokens(d_value)});
  }

  /// Gradient of a cross attention with respect to its tokens (returned) and queries (written).
  at::Tensor tokens_gradient(const AttentionActivations& attention, const FusedLinear& projection,
                             const Parameter* norm_k, const at::Tensor& tokens_BLD,
                             const at::Tensor& d_attended, const at::Tensor& d_query) {
    const at::Tensor d_key_values =
        at::empty({attention.values.size(0), 2 * width_}, attention.values.options());
    const at::Tensor d_key = d_key_values.narrow(1, 0, width_);
    const at::Tensor d_value = d_key_values.narrow(1, width_, width_);
    attention_gradient(attention, d_attended, d_query, d_key, d_value);
    const at::Tensor d_bias_k = heads_gradient(attention.key_norm, norm_k, d_key, d_key);
    projection.bias_gradient(at::cat({d_bias_k, kernels::column_sums(d_value)}, 1));
    const at::Tensor tokens = tokens_BLD.view({-1, width_});
    parameter_gradients(projection, tokens, d_key_values);
    at::Tensor d_tokens = at::empty_like(tokens);
    projection.input_gradient(d_key_values, d_tokens);
    return d_tokens.view(tokens_BLD.sizes());
  }

  /// d_hidden_ at norm2's sum -> at the block's input.
  void self_attention() {
    parameter_gradients(block_.self_out, a_.self.out, d_branch_);
    const at::Tensor d_attended = compute_rows(width_);
    block_.self_out.input_gradient(d_branch_, d_attended);
    const at::Tensor d_qkv = at::empty_like(a_.self_qkv);
    const at::Tensor d_query = d_qkv.narrow(1, 0, width_);
    const at::Tensor d_key = d_qkv.narrow(1, width_, width_);
    const at::Tensor d_value = d_qkv.narrow(1, 2 * width_, width_);
    if (a_.self.seen_keys.defined()) {
      region_attention_backward(block_.config, context_, batch_, a_.self, d_attended,
                                {d_query, d_key, d_value});
    } else {
      attention_gradient(a_.self, d_attended, d_query, d_key, d_value);
    }
    const at::Tensor d_bias_q =
        heads_gradient(a_.self.query_norm, p_.self_norm_q, d_query, d_query);
    const at::Tensor d_bias_k = heads_gradient(a_.self.key_norm, p_.self_norm_k, d_key, d_key);
    block_.self_qkv.bias_gradient(at::cat({d_bias_q, d_bias_k, kernels::column_sums(d_value)}, 1));
    parameter_gradients(block_.self_qkv, a_.norm1.normed, d_qkv);
    const at::Tensor d_normed = a_.norm1.normed;
    block_.self_qkv.input_gradient(d_qkv, d_normed);
    d_hidden_ = norm_gradient(a_.norm1, d_hidden_, d_normed,
                              {d_modulation_[1], d_modulation_[0], {}}, block_.self_out);
  }

  const FusedBlock& block_;
  const BlockParameters& p_;
  const BlockContext& context_;
  BlockActivations& a_;
  int64_t batch_;
  int64_t width_;
  at::TensorOptions fp32_;
  at::TensorOptions compute_;
  kernels::RowShape shape_;
  bool overwrite_;
  at::Tensor d_modulation_;  ///< fp32 [6, G, D]
  at::Tensor d_hidden_;      ///< fp32 [R, D] at the point that the pass has reached
  at::Tensor d_branch_;      ///< compute [R, D]: gradient of the projection that is next
  BlockGradients result_;
};

}  // namespace

BlockGradients fused_block_backward(const FusedBlock& block, const at::Tensor& hidden_BND,
                                    const BlockContext& context, BlockActivations& activations,
                                    const at::Tensor& d_output_BND) {
  return BackwardPass(block, hidden_BND, context, activations).run(d_output_BND);
}

}  // namespace zoetrope
