// SPDX-License-Identifier: 0BSD

/// How far one output is from the golden one, summed up sample by sample in double precision.
public struct ParityDistance: Sendable {
    public private(set) var maxAbs = 0.0
    public private(set) var samples = 0
    private var dot = 0.0
    private var square = 0.0
    private var goldenSquare = 0.0
    private var sameTop = 0
    private var isScores = true

    public init() {}

    /// Takes one sample into account; another shape counts as infinitely far, NaN stays NaN.
    public mutating func add(_ value: Tensor, golden: Tensor) {
        samples += 1
        guard value.shape == golden.shape else {
            maxAbs = .infinity
            return
        }
        let (mine, wanted) = (value.doubles(), golden.doubles())
        guard !mine.isEmpty else { return }
        for (one, other) in zip(mine, wanted) {
            let distance = (one - other).magnitude
            if distance.isNaN || maxAbs.isNaN { maxAbs = .nan } else { maxAbs = max(maxAbs, distance) }
            dot += one * other
            square += one * one
            goldenSquare += other * other
        }
        isScores = isScores && (golden.shape.last ?? 0) >= 2 && golden.shape.last == golden.count
        sameTop += ParityDistance.top(mine) == ParityDistance.top(wanted) ? 1 : 0
    }

    /// The cosine of all samples as one vector; 1 where both are zero, 0 where one is.
    public var cosine: Double {
        if square == 0, goldenSquare == 0 { return 1 }
        let length = square.squareRoot() * goldenSquare.squareRoot()
        return length == 0 ? 0 : dot / length
    }

    /// The share of samples whose largest score is the same, or nil for an output that is no vector of scores.
    public var top1: Double? { isScores && samples > 0 ? Double(sameTop) / Double(samples) : nil }

    /// Whether it lies within what the build's `model.json` allows.
    public func passes(_ tolerance: GoldenInfo.Tolerance) -> Bool {
        let isNear = maxAbs <= tolerance.maxAbs
        guard let least = tolerance.cosineMin, goldenSquare > 0 else { return isNear }
        return isNear && cosine >= least
    }

    /// The first of the largest; NaN counts as the largest, as in NumPy.
    private static func top(_ values: [Double]) -> Int {
        if let undefined = values.firstIndex(where: \.isNaN) { return undefined }
        return values.indices.max { values[$0] < values[$1] || (values[$0] == values[$1] && $0 > $1) } ?? 0
    }
}

/// The golden samples run on a session, one by one.
public enum GoldenCheck {
    /// The distance of every golden output, by its name.
    public static func distances(
        _ session: any InferenceSession, _ samples: [GoldenSample], progress: (Int) throws -> Void = { _ in }
    ) throws -> [String: ParityDistance] {
        var found: [String: ParityDistance] = [:]
        for (number, sample) in samples.enumerated() {
            try session.bind(sample.inputs)
            try session.predict()
            let outputs = try session.fetch()
            for (name, golden) in sample.outputs {
                guard let value = outputs[name] else {
                    throw BenchFailure("check_failed", "the golden output \(name) is none of the model's")
                }
                found[name, default: ParityDistance()].add(value, golden: golden)
            }
            try progress(number + 1)
        }
        return found
    }
}
