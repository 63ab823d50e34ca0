// SPDX-License-Identifier: 0BSD

/// Pixels of 8 bits, row by row, `channels` values each: three (RGB) as decoded, one after a turn to gray.
public struct Picture: Sendable, Equatable {
    public let width: Int
    public let height: Int
    public let channels: Int
    public let pixels: [UInt8]

    public init(width: Int, height: Int, rgb: [UInt8]) throws {
        try self.init(width: width, height: height, channels: 3, pixels: rgb)
    }

    init(width: Int, height: Int, channels: Int, pixels: [UInt8]) throws {
        guard width > 0, height > 0, let count = Tensor.count(of: [height, width, channels]), count == pixels.count
        else { throw BenchFailure("bad_args", "\(pixels.count) bytes are no picture of \(height) x \(width)") }
        self.width = width
        self.height = height
        self.channels = channels
        self.pixels = pixels
    }
}

/// From a picture to the model's input, computed as palmtop computed it when the build was calibrated and verified:
/// colour, resize, central crop, `(x · scale − mean) / std` in single precision, axis order.
public struct Preprocess: Decodable, Sendable {
    public enum Colour: String, Decodable, Sendable { case rgb, bgr, gray }

    /// Height and width.
    public let resize: [Int]?
    public let crop: [Int]?
    public let colour: Colour
    public let scale: Double
    public let mean: [Double]
    public let std: [Double]
    public let layout: ModelSpec.Layout

    /// Which part of the original picture the model saw, in fractions of its width and height.
    public struct Window: Sendable, Equatable {
        public let left: Double
        public let top: Double
        public let width: Double
        public let height: Double

        /// All of the picture.
        public static let whole = Window(left: 0, top: 0, width: 1, height: 1)
    }

    public func tensor(of picture: Picture, for input: ModelSpec.TensorInfo) throws -> Tensor {
        let coloured = colour == .gray ? try picture.gray() : picture
        let cropped = try cropped(try resized(coloured))
        let ordered = colour == .bgr ? try cropped.swapped() : cropped
        let turned = (input.layout ?? layout) == .nchw
        let shape =
            turned ? [1, ordered.channels, ordered.height, ordered.width] : [1, ordered.height, ordered.width, ordered.channels]
        guard fits(shape, input.shape) else {
            throw BenchFailure("bad_args", "the picture becomes \(shape), \(input.name) wants \(input.shape)")
        }
        if !input.dtype.isFloat, input.quantization == nil {
            let raw = ordered.pixels.map(Int64.init)
            return try Tensor(turned ? planes(raw, ordered) : raw, type: input.dtype, shape: shape)
        }
        var values = normalised(ordered)
        if let quantization = input.quantization {
            let (scale, zero) = (Float(quantization.scale), Float(quantization.zeroPoint))
            values = values.map { ($0 / scale).rounded(.toNearestOrEven) + zero }
        }
        return try Tensor(turned ? planes(values, ordered) : values, type: input.dtype, shape: shape)
    }

    /// The part of a picture of this size that reaches the model.
    public func window(width: Int, height: Int) -> Window {
        let (tall, wide) = sizeBeforeCrop(width: width, height: height)
        guard let crop, crop.count == 2 else { return .whole }
        let (top, left) = ((tall - crop[0]) / 2, (wide - crop[1]) / 2)
        return Window(
            left: Double(left) / Double(wide), top: Double(top) / Double(tall),
            width: Double(crop[1]) / Double(wide), height: Double(crop[0]) / Double(tall))
    }

    private func sizeBeforeCrop(width: Int, height: Int) -> (height: Int, width: Int) {
        let (tall, wide) = resize.map { ($0[0], $0[1]) } ?? (height, width)
        guard let crop, crop[0] > tall || crop[1] > wide else { return (tall, wide) }
        let factor = max(Double(crop[0]) / Double(tall), Double(crop[1]) / Double(wide))
        let covering = { (size: Int, least: Int) in max(least, Int((Double(size) * factor).rounded())) }
        return (covering(tall, crop[0]), covering(wide, crop[1]))
    }

    private func resized(_ picture: Picture) throws -> Picture {
        for size in [resize, crop] {
            guard size.map({ $0.count == 2 && $0.allSatisfy { (1...16384).contains($0) } }) ?? true else {
                throw BenchFailure("bad_args", "\(size ?? []) is no height and width")
            }
        }
        let (height, width) = sizeBeforeCrop(width: picture.width, height: picture.height)
        return try picture.resized(height: height, width: width)
    }

    private func cropped(_ picture: Picture) throws -> Picture {
        guard let crop else { return picture }
        let (top, left) = ((picture.height - crop[0]) / 2, (picture.width - crop[1]) / 2)
        var pixels: [UInt8] = []
        pixels.reserveCapacity(crop[0] * crop[1] * picture.channels)
        for row in top..<top + crop[0] {
            let start = (row * picture.width + left) * picture.channels
            pixels += picture.pixels[start..<start + crop[1] * picture.channels]
        }
        return try Picture(width: crop[1], height: crop[0], channels: picture.channels, pixels: pixels)
    }

    private func normalised(_ picture: Picture) -> [Float] {
        let channels = picture.channels
        let (means, stds) = (spread(mean, channels), spread(std, channels))
        let factor = Float(scale)
        return picture.pixels.enumerated().map { index, pixel in
            var value = Float(pixel)
            if scale != 1 { value *= factor }
            if let means { value -= means[index % channels] }
            if let stds { value /= stds[index % channels] }
            return value
        }
    }

    private func spread(_ numbers: [Double], _ channels: Int) -> [Float]? {
        switch numbers.count {
        case 0: nil
        case channels: numbers.map(Float.init)
        default: [Float](repeating: Float(numbers[0]), count: channels)
        }
    }

    private func planes<Value>(_ values: [Value], _ picture: Picture) -> [Value] {
        let (channels, area) = (picture.channels, picture.width * picture.height)
        return (0..<channels).flatMap { channel in (0..<area).map { values[$0 * channels + channel] } }
    }

    private func fits(_ shape: [Int], _ wanted: [Int]) -> Bool {
        shape.count == wanted.count && zip(shape, wanted).allSatisfy { $1 == -1 || $0 == $1 }
    }
}

extension Picture {
    /// ITU-R 601-2 luma in 16-bit fixed point.
    func gray() throws -> Picture {
        var luma: [UInt8] = []
        luma.reserveCapacity(width * height)
        for at in stride(from: 0, to: pixels.count, by: 3) {
            let red = 19595 * Int(pixels[at])
            let green = 38470 * Int(pixels[at + 1])
            let blue = 7471 * Int(pixels[at + 2])
            luma.append(UInt8((red + green + blue + 32768) >> 16))
        }
        return try Picture(width: width, height: height, channels: 1, pixels: luma)
    }

    func swapped() throws -> Picture {
        var turned = pixels
        for at in stride(from: 0, to: turned.count, by: 3) { turned.swapAt(at, at + 2) }
        return try Picture(width: width, height: height, channels: channels, pixels: turned)
    }

    /// Bilinear with antialiasing: a horizontal pass, then a vertical one, each rounded to 8 bits.
    func resized(height tall: Int, width wide: Int) throws -> Picture {
        let across = wide == width ? self : try resampledAcross(to: wide)
        return tall == height ? across : try across.resampledDown(to: tall)
    }

    private func resampledAcross(to wide: Int) throws -> Picture {
        let taps = Resampling.taps(from: width, to: wide)
        var made = [UInt8](repeating: 0, count: height * wide * channels)
        for row in 0..<height {
            for column in 0..<wide {
                let tap = taps[column]
                for channel in 0..<channels {
                    let start = (row * width + tap.start) * channels + channel
                    made[(row * wide + column) * channels + channel] = tap.sum(pixels, start, channels)
                }
            }
        }
        return try Picture(width: wide, height: height, channels: channels, pixels: made)
    }

    private func resampledDown(to tall: Int) throws -> Picture {
        let taps = Resampling.taps(from: height, to: tall)
        let pitch = width * channels
        var made = [UInt8](repeating: 0, count: tall * pitch)
        for row in 0..<tall {
            for at in 0..<pitch { made[row * pitch + at] = taps[row].sum(pixels, taps[row].start * pitch + at, pitch) }
        }
        return try Picture(width: width, height: tall, channels: channels, pixels: made)
    }
}

/// The weights of one axis, in fixed point with 22 bits behind the point.
private enum Resampling {
    static let bits = 22

    struct Tap {
        let start: Int
        let weights: [Int]

        func sum(_ values: [UInt8], _ first: Int, _ pitch: Int) -> UInt8 {
            var total = 1 << (Resampling.bits - 1)
            var at = first
            for weight in weights {
                total += weight * Int(values[at])
                at += pitch
            }
            return UInt8(min(max(total >> Resampling.bits, 0), 255))
        }
    }

    static func taps(from size: Int, to wanted: Int) -> [Tap] {
        let scale = Double(size) / Double(wanted)
        let reach = max(scale, 1)
        return (0..<wanted).map { position in
            let centre = (Double(position) + 0.5) * scale
            let low = max(0, Int((centre - reach + 0.5).rounded(.down)))
            let high = min(size, Int((centre + reach + 0.5).rounded(.down)))
            let shares = (low..<high).map { max(0, 1 - abs((Double($0) - centre + 0.5) / reach)) }
            let total = shares.reduce(0, +)
            let one = Double(1 << bits)
            return Tap(start: low, weights: shares.map { Int(($0 / total * one).rounded(.toNearestOrAwayFromZero)) })
        }
    }
}
