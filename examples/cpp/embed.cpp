// Embeds the artifact's own test vectors and compares:  embed ARTIFACT [--json]
// fp32: largest difference <= 1e-4. Other precisions: cosine with what Python gave >= 0.9995.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <set>

#include <nlohmann/json.hpp>

#include "embedder.hpp"

using nlohmann::json;

namespace {

constexpr double kLargestDifference = 1e-4;
constexpr double kLeastCosine = 0.9995;
const std::set<std::string> kTargets = {"portable", "openvino", "openvino-unpadded"};  // what OpenVINO runs

json read(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error(path + " cannot be opened; name a folder that bert-onnx export has written.");
    return json::parse(file);
}

std::map<std::string, bert_onnx::Ids> inputs_of(const json& one) {
    std::map<std::string, bert_onnx::Ids> inputs;
    for (const auto& [name, tensor] : one.at("inputs").items())
        inputs[name] = {tensor.at("shape").get<std::vector<std::size_t>>(),
                        tensor.at("values").get<std::vector<std::int64_t>>()};
    return inputs;
}

struct Verdict {
    std::string variant, precision;
    int texts = 0;
    double difference = 0, cosine = 1;

    bool passed() const { return precision == "fp32" ? difference <= kLargestDifference : cosine >= kLeastCosine; }
};

Verdict check(bert_onnx::Embedder& embedder, const json& variant, const json& vectors) {
    Verdict verdict{variant.at("name"), variant.at("precision")};
    for (const json& one : vectors.at("cases")) {
        const json& own = one.at("variants");
        const json& outputs = own.contains(verdict.variant) ? own.at(verdict.variant) : one.at("outputs");
        const auto expected = outputs.at("sentence_embedding").at("values").get<std::vector<double>>();
        const bert_onnx::Vectors actual = embedder.embed(inputs_of(one));
        if (actual.values.size() != expected.size()) throw std::runtime_error("an output has the wrong size.");
        for (std::size_t i = 0; i < expected.size(); ++i) {
            if (!std::isfinite(actual.values[i])) throw std::runtime_error("an output is not a number.");
            verdict.difference = std::max(verdict.difference, std::abs(actual.values[i] - expected[i]));
        }
        for (std::size_t at = 0; at < expected.size(); at += actual.width, ++verdict.texts)
            verdict.cosine = std::min(verdict.cosine,
                                      bert_onnx::cosine(&actual.values[at], &expected[at], actual.width));
    }
    return verdict;
}

/// What a program would do: which of the others is most like the first text?
void show_similarities(bert_onnx::Embedder& embedder, const json& vectors) {
    for (const json& one : vectors.at("cases")) {
        if (one.at("name") != "padded" || one.at("texts").is_null()) continue;
        const bert_onnx::Vectors found = embedder.embed(inputs_of(one));
        std::cout << "similarity to \"" << one["texts"][1].get<std::string>() << "\"\n";
        for (std::size_t row : {0, 2})
            std::cout << "  " << bert_onnx::cosine(found.row(1), found.row(row), found.width) << "  "
                      << one["texts"][row].get<std::string>() << "\n";
    }
}

int run(const std::string& folder, bool as_json) {
    const json manifest = read(folder + "/manifest.json");
    const json vectors = read(folder + "/vectors.json");
    json report = json::array();
    bool passed = true;
    for (const json& variant : manifest.at("variants")) {
        if (kTargets.count(variant.at("target")) == 0) continue;
        bert_onnx::Embedder embedder(folder + "/" + variant.at("file").get<std::string>(),
                                     manifest.at("config").at("vocab_size"));
        if (report.empty() && !as_json) show_similarities(embedder, vectors);
        const Verdict verdict = check(embedder, variant, vectors);
        passed = passed && verdict.passed();
        report.push_back({{"variant", verdict.variant}, {"precision", verdict.precision}, {"texts", verdict.texts},
                          {"difference", verdict.difference}, {"cosine", verdict.cosine},
                          {"passed", verdict.passed()}});
    }
    if (as_json) {
        std::cout << report << "\n";
    } else {
        for (const json& line : report) std::cout << line << "\n";
    }
    return passed && !report.empty() ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 2) {
        std::cerr << "usage: embed ARTIFACT [--json]\n";
        return 2;
    }
    try {
        return run(arguments[1], count > 2 && std::string(arguments[2]) == "--json");
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 2;
    }
}
