#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "zoetrope/kernels/gated_sum.h"
#include "zoetrope/networks/wan_transformer/fused_block_passes.h"
#include "zoetrope/networks/wan_transformer/fused_region_attention.h"

namespace zoetrope {
namespace {

class ForwardPass {
 public:
  ForwardPass(const FusedBlock& block, const at::Tensor& hidden_BND, const BlockContext& context,
              BlockActivations& activations)
      : block_(block),
        p_(block.parameters),
        context_(context),
        a_(activations),
        hidden_(hidden_BND.view({-1, hidden_BND.size(2)})),
        batch_(hidden_BND.size(0)),
        width_(hidden_BND.size(2)),
        compute_(hidden_.options().dtype(p_.self_q.weight->value.scalar_type())),
        shape_{hidden_.size(0), width_,
               hidden_.size(0) / (batch_ * context.modulation_BM6D.size(1))} {}

  at::Tensor run() {
    prepare_modulation();
    a_.norm1 = norm(hidden_, {}, {}, a_.modulation[1], a_.modulation[0]);
    self_attention();
    const at::Tensor self_out = project(block_.self_out, a_.self.out);
    a_.norm2 = norm(hidden_, self_out, a_.modulation[2], fp32_row(p_.cross_norm.weight),
                    fp32_row(p_.cross_norm.bias));
    cross_attention();
    const at::Tensor residual = normalize_for_feed_forward(project(block_.cross_out, a_.attended));
    a_.before_gelu = at::empty({shape_.rows, block_.feed_forward_in.out_features()}, compute_);
    a_.after_gelu = at::empty_like(a_.before_gelu);
    block_.feed_forward_in.forward_gelu(a_.norm3.normed, a_.before_gelu, a_.after_gelu);
    a_.feed_forward = project(block_.feed_forward_out, a_.after_gelu);
    return kernels::gated_sum(shape_, residual, a_.feed_forward, a_.modulation[5])
        .view({batch_, -1, width_});
  }

 private:
  void prepare_modulation() {
    a_.modulation = (p_.scale_shift_table->value.detach().to(at::kFloat).unsqueeze(0) +
                     context_.modulation_BM6D.to(at::kFloat))
                        .flatten(0, 1)
                        .transpose(0, 1)
                        .contiguous();
    a_.modulation[1].add_(1);
    a_.modulation[4].add_(1);
  }

  at::Tensor project(const FusedLinear& linear, const at::Tensor& x) const {
    at::Tensor out = at::empty({x.size(0), linear.out_features()}, compute_);
    linear.forward(x, out);
    return out;
  }

  static at::Tensor fp32_row(const Parameter* parameter) {
    return parameter->value.detach().to(at::kFloat).unsqueeze(0);
  }

  kernels::ResidualNorm norm(const at::Tensor& hidden, const at::Tensor& branch,
                             const at::Tensor& gate, const at::Tensor& multiplier,
                             const at::Tensor& shift) const {
    kernels::ResidualNorm operands;
    operands.hidden = hidden;
    operands.branch = branch;
    operands.gate = gate;
    if (branch.defined()) operands.sum = at::empty_like(hidden);
    operands.multiplier = multiplier;
    operands.shift = shift;
    operands.normed = at::empty({shape_.rows, width_}, compute_);
    operands.mean = at::empty({shape_.rows}, hidden_.options());
    operands.inverse_deviation = at::empty({shape_.rows}, hidden_.options());
    kernels::residual_norm(shape_, operands, block_.config.eps);
    return operands;
  }

  kernels::RmsRope norm_heads(const at::Tensor& x, const Parameter* weight,
                              const RotaryTables& rotary) const {
    kernels::RmsRope operands;
    operands.x = x;
    operands.weight = weight->value.detach();
    operands.cos = rotary.cos;
    operands.sin = rotary.sin;
    operands.out = at::empty({x.size(0), width_}, compute_);
    operands.inverse_rms = at::empty({x.size(0)}, hidden_.options());
    kernels::rms_rope(operands, block_.config.eps);
    return operands;
  }

  void attend(AttentionActivations& attention) const {
    attention.out = at::empty({shape_.rows, width_}, compute_);
    attention.log_sums =
        at::empty({block_.config.num_attention_heads * shape_.rows}, hidden_.options());
    kernels::packed_attention(element_of(attention.out),
                              attention_shape(block_.config, batch_, attention),
                              attention_operands(attention));
  }

  void self_attention() {
    a_.self_qkv = project(block_.self_qkv, a_.norm1.normed);
    a_.self.query_norm =
        norm_heads(a_.self_qkv.narrow(1, 0, width_), p_.self_norm_q, context_.rotary);
    a_.self.key_norm =
        norm_heads(a_.self_qkv.narrow(1, width_, width_), p_.self_norm_k, context_.rotary);
    a_.self.values = a_.self_qkv.narrow(1, 2 * width_, width_);
    if (context_.regions || context_.streaming || !context_.sequence.is_whole()) {
      region_attention_forward(block_.config, context_, p_.index, batch_, a_.self);
    } else {
      attend(a_.self);
    }
  }

  void cross_attention() {
    const at::Tensor query = project(block_.cross_q, a_.norm2.normed);
    a_.text.query_norm = norm_heads(query, p_.cross_norm_q, {});
    a_.text.last_key_count = context_.last_text_count;
    attend_to_text();
    a_.attended = a_.text.out;
    if (!context_.image_BLD.defined()) return;
    a_.image.query_norm = a_.text.query_norm;
    attend_to_tokens(a_.image, project(block_.image_kv, context_.image_BLD.view({-1, width_})),
                     p_.image_norm_k);
    a_.attended = a_.text.out + a_.image.out;
  }

  /// Adds the cross attention and the actions; returns the sum that the feed-forward is added to.
  at::Tensor normalize_for_feed_forward(const at::Tensor& cross_out) {
    const at::Tensor& multiplier = a_.modulation[4];
    const at::Tensor& shift = a_.modulation[3];
    if (is_steered(p_, context_) && block_.config.is_causal) {
      at::Tensor steered = steer(kernels::gated_sum(shape_, a_.norm2.sum, cross_out, {}));
      a_.norm3 = norm(steered, {}, {}, multiplier, shift);
      return steered;
    }
    a_.norm3 = norm(a_.norm2.sum, cross_out, {}, multiplier, shift);
    return is_steered(p_, context_) ? steer(a_.norm3.sum) : a_.norm3.sum;
  }

  at::Tensor steer(const at::Tensor& hidden) {
    const at::AutoGradMode grad_mode(a_.differentiable);
    const at::Tensor before =
        hidden.view({batch_, -1, width_}).detach().set_requires_grad(a_.differentiable);
    const at::Tensor after = steered_tokens(p_, block_.config, before, context_);
    if (a_.differentiable) {
      a_.before_actions = before;
      a_.after_actions = after;
    }
    return after.detach().contiguous().view({-1, width_});
  }

  void attend_to_text() {
    if (context_.text_key_values == nullptr) {
      return attend_to_tokens(
          a_.text, project(block_.cross_kv, context_.text_BLD.view({-1, width_})), p_.cross_norm_k);
    }
    TextKeyValues::Block& kept = context_.text_key_values->blocks[static_cast<size_t>(p_.index)];
    if (!kept.values.defined()) {
      const at::Tensor text_kv = project(block_.cross_kv, context_.text_BLD.view({-1, width_}));
      const auto [key_norm, values] = keys_and_values(text_kv, p_.cross_norm_k);
      kept = {key_norm.out.unflatten(0, {batch_, -1}), values.unflatten(0, {batch_, -1})};
    }
    a_.text.key_norm.out = kept.keys.flatten(0, 1);
    a_.text.values = kept.values.flatten(0, 1);
    attend(a_.text);
  }

  std::pair<kernels::RmsRope, at::Tensor> keys_and_values(const at::Tensor& key_values,
                                                          const Parameter* norm_k) const {
    return {norm_heads(key_values.narrow(1, 0, width_), norm_k, {}),
            key_values.narrow(1, width_, width_)};
  }

  void attend_to_tokens(AttentionActivations& attention, const at::Tensor& key_values,
                        const Parameter* norm_k) const {
    std::tie(attention.key_norm, attention.values) = keys_and_values(key_values, norm_k);
    attend(attention);
  }

  const FusedBlock& block_;
  const BlockParameters& p_;
  const BlockContext& context_;
  BlockActivations& a_;
  at::Tensor hidden_;
  int64_t batch_;
  int64_t width_;
  at::TensorOptions compute_;
  kernels::RowShape shape_;
};

}  // namespace

bool is_steered(const BlockParameters& parameters, const BlockContext& context) {
  return parameters.action.has_value() && context.actions != nullptr;
}

kernels::Element element_of(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kBFloat16 ? kernels::Element::kBf16 : kernels::Element::kFp32;
}

kernels::AttentionShape attention_shape(const WanTransformerConfig& config, int64_t batch,
                                        const AttentionActivations& attention) {
  return {batch,
          config.num_attention_heads,
          attention.query_norm.x.size(0) / batch,
          attention.values.size(0) / batch,
          config.attention_head_dim,
          attention.last_key_count};
}

kernels::HeadTokens head_tokens(const at::Tensor& rows) {
  return {rows.mutable_data_ptr(), rows.stride(0)};
}

kernels::AttentionOperands attention_operands(const AttentionActivations& attention) {
  return {head_tokens(attention.query_norm.out), head_tokens(attention.key_norm.out),
          head_tokens(attention.values), head_tokens(attention.out),
          attention.log_sums.mutable_data_ptr<float>()};
}

at::Tensor fused_block_forward(const FusedBlock& block, const at::Tensor& hidden_BND,
                               const BlockContext& context, BlockActivations& activations) {
  return ForwardPass(block, hidden_BND, context, activations).run();
}

}  // namespace zoetrope
