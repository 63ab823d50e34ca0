package android.graphics

import android.content.ContentResolver
import java.io.InputStream

class Size(val width: Int, val height: Int)

class Bitmap(val width: Int, val height: Int, private val colours: IntArray) {
    fun getPixels(pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int) {
        for (row in 0 until height) {
            for (column in 0 until width) pixels[offset + row * stride + column] = colours[(y + row) * this.width + x + column]
        }
    }

    companion object {
        fun createBitmap(source: Bitmap, x: Int, y: Int, width: Int, height: Int, matrix: Matrix, filter: Boolean): Bitmap {
            require(x == 0 && y == 0 && width == source.width && height == source.height && filter)
            return if (matrix.fakeDegrees == 0f) source else Bitmap(height, width, source.colours)
        }
    }
}

class Matrix {
    var fakeDegrees = 0f

    fun postRotate(degrees: Float): Boolean {
        fakeDegrees += degrees
        return true
    }
}

object BitmapFactory {
    class Options {
        var inJustDecodeBounds = false
        var inPremultiplied = true
        var inSampleSize = 1
        var outWidth = 0
        var outHeight = 0
    }

    fun decodeStream(stream: InputStream, outPadding: Any?, options: Options): Bitmap? {
        val image = javax.imageio.ImageIO.read(stream) ?: return null
        options.outWidth = image.width
        options.outHeight = image.height
        if (options.inJustDecodeBounds) return null
        return Bitmap(image.width, image.height, image.getRGB(0, 0, image.width, image.height, null, 0, image.width))
    }
}

class ImageDecoder {
    var allocator = 0
    var isUnpremultipliedRequired = false

    fun setTargetSampleSize(size: Int) = require(size >= 1)

    class Source(val resolver: ContentResolver, val uri: android.net.Uri)

    class ImageInfo(val size: Size)

    fun interface OnHeaderDecodedListener {
        fun onHeaderDecoded(decoder: ImageDecoder, info: ImageInfo, source: Source)
    }

    companion object {
        const val ALLOCATOR_SOFTWARE = 1

        fun createSource(resolver: ContentResolver, uri: android.net.Uri) = Source(resolver, uri)

        fun decodeBitmap(source: Source, listener: OnHeaderDecodedListener): Bitmap {
            val stream = source.resolver.openInputStream(source.uri) ?: throw java.io.IOException("${source.uri.path} is not there")
            val bitmap = stream.use { BitmapFactory.decodeStream(it, null, BitmapFactory.Options()) }
                ?: throw java.io.IOException("${source.uri.path} is no picture")
            val decoder = ImageDecoder()
            listener.onHeaderDecoded(decoder, ImageInfo(Size(bitmap.width, bitmap.height)), source)
            check(decoder.allocator == ALLOCATOR_SOFTWARE) { "pixels of hardware bitmaps cannot be read" }
            return bitmap
        }
    }
}
