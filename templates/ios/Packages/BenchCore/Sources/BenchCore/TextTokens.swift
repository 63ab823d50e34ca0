// SPDX-License-Identifier: 0BSD

/// From a text to the whole numbers that a text model reads.
public struct TextTokens: Sendable {
    public let rule: ModelSpec.Text
    public let vocabulary: [String: Int]

    public init(rule: ModelSpec.Text, vocabulary: [String: Int]) {
        self.rule = rule
        self.vocabulary = vocabulary
    }

    /// Exactly `rule.length` numbers: cut, or filled up with the padding.
    public func numbers(of text: String) -> [Int64] {
        let lowered = rule.lowercase ? text.lowercased() : text
        let found: [Int]
        switch rule.encoding {
        case .utf8: found = lowered.utf8.map(Int.init)
        case .vocabulary: found = lowered.split(whereSeparator: \.isWhitespace).map { vocabulary[String($0)] ?? rule.unknown }
        }
        let cut = found.prefix(rule.length)
        return (cut + [Int](repeating: rule.padding, count: rule.length - cut.count)).map(Int64.init)
    }

    public func tensor(of text: String, for input: ModelSpec.TensorInfo) throws -> Tensor {
        try Tensor(numbers(of: text), type: input.dtype, shape: [1, rule.length])
    }
}
