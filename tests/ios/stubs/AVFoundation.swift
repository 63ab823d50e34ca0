// The part of AVFoundation that the app uses, by signature only.
public struct AVMediaType: Sendable { public static let video = AVMediaType() }

public final class AVCaptureDevice {
    public static func requestAccess(for type: AVMediaType) async -> Bool { false }
}
