// SPDX-License-Identifier: 0BSD

import BenchCore
import UIKit

/// From a photo to the plain pixels that preprocessing starts with: upright, sRGB, no transparency.
enum PictureReader {
    /// Larger photos are made smaller first: a phone's memory ends before its camera's pixels do.
    static let longestSide: CGFloat = 4096

    /// The photo upright, at most ``longestSide`` long, one pixel a point.
    static func upright(_ photo: UIImage) -> UIImage {
        let longest = max(photo.size.width * photo.scale, photo.size.height * photo.scale)
        let factor = min(1, longestSide / max(longest, 1)) * photo.scale
        let size = CGSize(
            width: max((photo.size.width * factor).rounded(), 1), height: max((photo.size.height * factor).rounded(), 1))
        let format = UIGraphicsImageRendererFormat()
        format.scale = 1
        format.opaque = true
        return UIGraphicsImageRenderer(size: size, format: format).image { _ in
            photo.draw(in: CGRect(origin: .zero, size: size))
        }
    }

    static func picture(of upright: UIImage) throws -> Picture {
        guard let image = upright.cgImage, let space = CGColorSpace(name: CGColorSpace.sRGB) else { throw unreadable }
        let (width, height) = (image.width, image.height)
        var pixels = [UInt8](repeating: 0, count: width * height * 4)
        let isDrawn = pixels.withUnsafeMutableBytes { memory in
            guard
                let context = CGContext(
                    data: memory.baseAddress, width: width, height: height, bitsPerComponent: 8, bytesPerRow: width * 4,
                    space: space, bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
            else { return false }
            context.draw(image, in: CGRect(x: 0, y: 0, width: width, height: height))
            return true
        }
        guard isDrawn else { throw unreadable }
        var rgb: [UInt8] = []
        rgb.reserveCapacity(width * height * 3)
        for at in stride(from: 0, to: pixels.count, by: 4) { rgb.append(contentsOf: pixels[at..<at + 3]) }
        return try Picture(width: width, height: height, rgb: rgb)
    }

    static var unreadable: BenchFailure { BenchFailure("bad_args", String(localized: "error_image")) }
}
