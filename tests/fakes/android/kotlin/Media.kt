package android.media

class ExifInterface(stream: java.io.InputStream) {
    init {
        check(stream.available() >= 0)
    }

    fun getAttributeInt(tag: String, fallback: Int): Int = if (tag == TAG_ORIENTATION) fallback else throw IllegalArgumentException(tag)

    companion object {
        const val TAG_ORIENTATION = "Orientation"
        const val ORIENTATION_NORMAL = 1
        const val ORIENTATION_ROTATE_180 = 3
        const val ORIENTATION_ROTATE_90 = 6
        const val ORIENTATION_ROTATE_270 = 8
    }
}
