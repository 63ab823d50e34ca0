// The part of UIKit, Core Graphics and AVFoundation that the app uses, by signature only.
@_exported import Foundation

public final class CGColorSpace: @unchecked Sendable {
    public static let sRGB = "sRGB"
    public init?(name: String) {}
}

public enum CGImageAlphaInfo: UInt32 { case none, premultipliedLast, premultipliedFirst, last, first, noneSkipLast, noneSkipFirst }

public final class CGImage {
    public var width: Int { 0 }
    public var height: Int { 0 }
}

public final class CGContext {
    public init?(data: UnsafeMutableRawPointer?, width: Int, height: Int, bitsPerComponent: Int, bytesPerRow: Int, space: CGColorSpace, bitmapInfo: UInt32) {}
    public func draw(_ image: CGImage, in rectangle: CGRect) {}
}

public final class UIImage: NSObject, @unchecked Sendable {
    public init?(data: Data) {}
    public var size: CGSize { .zero }
    public var scale: CGFloat { 1 }
    public var cgImage: CGImage? { nil }
    public func draw(in rectangle: CGRect) {}
}

public class UIGraphicsImageRendererFormat: NSObject {
    public var scale: CGFloat = 1
    public var opaque = false
}

public class UIGraphicsImageRendererContext: NSObject {}

public class UIGraphicsImageRenderer: NSObject {
    public init(size: CGSize, format: UIGraphicsImageRendererFormat) {}
    public func image(actions: (UIGraphicsImageRendererContext) -> Void) -> UIImage { fatalError() }
}

@MainActor public class UIApplication: NSObject {
    public static let shared = UIApplication()
    nonisolated public static let openSettingsURLString = ""
    public var isIdleTimerDisabled = false
    public func open(_ url: URL) {}
}

@MainActor public class UIDevice: NSObject {
    public static let current = UIDevice()
    public var isBatteryMonitoringEnabled = false
    public var batteryLevel: Float { -1 }
}

@MainActor open class UIViewController: NSObject {}
@MainActor open class UINavigationController: UIViewController {}
@MainActor public protocol UINavigationControllerDelegate: AnyObject {}

@MainActor public protocol UIImagePickerControllerDelegate: AnyObject {
    func imagePickerController(_ picker: UIImagePickerController, didFinishPickingMediaWithInfo info: [UIImagePickerController.InfoKey: Any])
    func imagePickerControllerDidCancel(_ picker: UIImagePickerController)
}

@MainActor public class UIImagePickerController: UINavigationController {
    public enum SourceType: Sendable { case camera, photoLibrary }
    public struct InfoKey: Hashable, Sendable { public static let originalImage = InfoKey() }
    public var sourceType = SourceType.photoLibrary
    public weak var delegate: (any UIImagePickerControllerDelegate & UINavigationControllerDelegate)?
    public class func isSourceTypeAvailable(_ type: SourceType) -> Bool { false }
}
