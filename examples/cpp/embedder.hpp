// Runs a graph of an artifact on OpenVINO: token ids in, sentence embeddings out.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <openvino/openvino.hpp>

namespace bert_onnx {

/// A tensor of token ids or masks in C order.
struct Ids {
    ov::Shape shape;
    std::vector<std::int64_t> values;
};

/// Rows of floats, all of the same width.
struct Vectors {
    std::size_t width = 0;
    std::vector<float> values;

    const float* row(std::size_t index) const { return values.data() + index * width; }
};

class Embedder {
public:
    /// @param file an .onnx file of the artifact
    /// @param limit token ids must be below it: `config.vocab_size` of manifest.json
    /// @throws ov::Exception if OpenVINO cannot read or compile the file
    Embedder(const std::string& file, std::int64_t limit, const std::string& device = "CPU") : limit_(limit) {
        // Some processors compute in 16 bits unless told otherwise: faster, and further from the model.
        model_ = ov::Core().compile_model(file, device, ov::hint::inference_precision(ov::element::f32),
                                          ov::hint::dynamic_quantization_group_size(0));
        request_ = model_.create_infer_request();
    }

    /// @param inputs input_ids, attention_mask and token_type_ids, each [B, S]
    /// @return one vector for each of the B texts
    /// @throws std::invalid_argument for inputs that the model cannot take
    Vectors embed(const std::map<std::string, Ids>& inputs) {
        for (const auto& port : model_.inputs()) {
            const std::string name = port.get_any_name();
            const auto found = inputs.find(name);
            if (found == inputs.end()) throw std::invalid_argument("the input " + name + " is missing.");
            check(name, found->second);
            ov::Tensor tensor(ov::element::i64, found->second.shape);
            std::copy(found->second.values.begin(), found->second.values.end(), tensor.data<std::int64_t>());
            request_.set_tensor(name, tensor);
        }
        request_.infer();
        const ov::Tensor output = request_.get_tensor("sentence_embedding");
        const float* data = output.data<const float>();
        return {output.get_shape()[1], std::vector<float>(data, data + output.get_size())};
    }

private:
    void check(const std::string& name, const Ids& ids) const {
        if (ids.shape.size() != 2 || ov::shape_size(ids.shape) != ids.values.size() || ids.values.empty())
            throw std::invalid_argument(name + " must be [B, S], with a value for each place.");
        if (name != "input_ids") return;
        for (std::int64_t id : ids.values)
            if (id < 0 || id >= limit_)
                throw std::invalid_argument("the token id " + std::to_string(id) + " is not in the vocabulary; ids run from 0 to " +
                                            std::to_string(limit_ - 1) + ".");
    }

    std::int64_t limit_;
    ov::CompiledModel model_;
    ov::InferRequest request_;
};

/// Cosine of the angle between two vectors.
template <typename A, typename B>
double cosine(const A* a, const B* b, std::size_t size) {
    double dot = 0, aa = 0, bb = 0;
    for (std::size_t i = 0; i < size; ++i) {
        dot += double(a[i]) * b[i];
        aa += double(a[i]) * a[i];
        bb += double(b[i]) * b[i];
    }
    return dot / std::sqrt(aa * bb);
}

}  // namespace bert_onnx
