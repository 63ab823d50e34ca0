package android.text.format

object Formatter {
    fun formatShortFileSize(context: android.content.Context, bytes: Long): String = "$bytes B".also { check(context.packageName.isNotEmpty()) }
}
