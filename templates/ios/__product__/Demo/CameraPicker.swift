// SPDX-License-Identifier: 0BSD

import AVFoundation
import SwiftUI
import UIKit

/// Whether the app may use the camera.
enum CameraAccess {
    case unknown, granted, denied, missing

    /// Asks the person the first time; later the system answers by itself.
    @MainActor
    static func request() async -> CameraAccess {
        guard UIImagePickerController.isSourceTypeAvailable(.camera) else { return .missing }
        return await AVCaptureDevice.requestAccess(for: .video) ? .granted : .denied
    }

    @MainActor
    static func openSettings() {
        if let url = URL(string: UIApplication.openSettingsURLString) { UIApplication.shared.open(url) }
    }
}

/// The system's camera for a single photo.
struct CameraPicker: UIViewControllerRepresentable {
    let onPhoto: (UIImage) -> Void
    @Environment(\.dismiss) private var dismiss

    func makeUIViewController(context: Context) -> UIImagePickerController {
        let picker = UIImagePickerController()
        picker.sourceType = .camera
        picker.delegate = context.coordinator
        return picker
    }

    func updateUIViewController(_ picker: UIImagePickerController, context: Context) {}

    func makeCoordinator() -> Coordinator {
        Coordinator(onPhoto: onPhoto) { dismiss() }
    }

    final class Coordinator: NSObject, UIImagePickerControllerDelegate, UINavigationControllerDelegate {
        private let onPhoto: (UIImage) -> Void
        private let onEnd: () -> Void

        init(onPhoto: @escaping (UIImage) -> Void, onEnd: @escaping () -> Void) {
            self.onPhoto = onPhoto
            self.onEnd = onEnd
        }

        func imagePickerController(
            _ picker: UIImagePickerController, didFinishPickingMediaWithInfo info: [UIImagePickerController.InfoKey: Any]
        ) {
            if let photo = info[.originalImage] as? UIImage { onPhoto(photo) }
            onEnd()
        }

        func imagePickerControllerDidCancel(_ picker: UIImagePickerController) { onEnd() }
    }
}
